"""Operating characteristics of the rollout's rules, on thousands of challengers of known value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.costs import CostModel
from alphaloop.errors import InputError
from alphaloop.settings.settings import Settings
from features.compute.batch import backfill
from features.feature_set import default_feature_set
from marketdata.configured_source import chosen_start
from marketdata.sources.registry import find_source
from models.evaluation.walk_forward import EvaluationPolicy
from rollouts.rollback_decision import Move
from rollouts.rollout_policy_settings import RolloutPolicy, make_rollout_policy
from rollouts.validation.faults import with_five_fold_turnover
from rollouts.validation.pair_outcomes import PairOutcomes, make_track, pair_tracks, signal_scores
from rollouts.validation.simulation import SimulatedRollouts, simulate_on_bootstrap
from trading.strategy import configured_strategy

MODELS = ("momentum", "reversal", "low volatility", "near the high")
MIN_SYMBOLS = 4
CARD_SHARE = 0.4
"""Share of the history that makes the cards; rollouts are drawn from the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationRequest:
    """Parameters of the simulation.

    Parameters
    ----------
    rollouts : int
        Number of simulated rollouts of each kind.
    effect : float
        Difference between the versions, in standard deviations of the paired difference a bar.
    ic : float, optional
        Difference as information coefficient a bar; replaces `effect`.
    names : int
        Number of symbols, drawn at random; 0 for all.
    horizon : int
        Bars of an outcome.
    bars : int
        Longest duration of a rollout; 0 for the settings' own.
    seed : int
        Seed of all draws.

    Raises
    ------
    InputError
        For a negative count, or an effect that is not positive.
    """

    rollouts: int = 1_000
    effect: float = 0.2
    ic: float | None = None
    names: int = 0
    horizon: int = 1
    bars: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least in (("rollouts", 1), ("names", 0), ("horizon", 1), ("bars", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it is at least {least}")
        for name in ("effect", "ic"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(
                    f"{name} is {value}; give a positive difference, it is tried in both directions"
                )


def simulate_characteristics(settings: Settings, question: SimulationRequest) -> dict[str, Any]:
    """Simulate equal, worse and better challengers, and one with five-fold turnover.

    All rollouts run under the settings' rollout policy. The pairs are simple models on the bars of
    `settings.data.source`, made equal, and then better or worse by the effect or with five times the trades;
    dates are drawn by the stationary bootstrap.

    Parameters
    ----------
    settings : Settings
        Source of bars, rollout policy and evaluation policy.
    question : SimulationRequest
        Number of rollouts, effect, symbols, horizon, duration and seed.

    Returns
    -------
    dict
        Rates of false rollback and false promotion, and for each kind of challenger the rates of rollback,
        promotion and expiry with the bars until then.

    Raises
    ------
    InputError
        Where the source has too few symbols.
    """
    policy = make_rollout_policy(settings)
    policy = replace(policy, max_bars=question.bars or policy.max_bars, ic_horizon=question.horizon)
    pairs, symbols = _pairs(settings, question)
    effect = question.effect if question.ic is None else question.ic / _spread(pairs, "ic", "champion_ic")

    def play(changed: list[PairOutcomes], number: int) -> SimulatedRollouts:
        return simulate_on_bootstrap(
            changed, policy, rollouts=question.rollouts, bars=policy.max_bars, seed=question.seed + number
        )

    equals = [one.recentred() for one in pairs]
    equal = play(equals, 0)
    worse, better = (play([one.recentred(x) for one in pairs], n) for n, x in ((1, -effect), (2, effect)))
    cost = CostModel.from_settings(settings.trading).rate
    five_fold = play([with_five_fold_turnover(one, cost) for one in equals], 3)
    return {
        "source": settings.data.source,
        "names": len(symbols),
        "pairs": len(pairs),
        "rollouts": question.rollouts,
        "bars": policy.max_bars,
        "horizon": question.horizon,
        "seed": question.seed,
        "effect": effect,
        "effect_as_ic": effect * _spread(pairs, "ic", "champion_ic"),
        "effect_as_net_return_bps": effect * _spread(pairs, "net_return", "champion_net_return") * 1e4,
        "false_rollback": equal.rate(Move.ROLL_BACK),
        "false_promotion": max(equal.rate(Move.PROMOTE), worse.rate(Move.PROMOTE)),
        "equal": summarize(equal),
        "worse": summarize(worse),
        "better": summarize(better),
        "turnover_five_fold": _caught(five_fold, policy),
    }


def summarize(simulated: SimulatedRollouts) -> dict[str, Any]:
    """Summarize the rates of each decision and the bars until it."""
    return {
        "rolled_back": simulated.rate(Move.ROLL_BACK),
        "promoted": simulated.rate(Move.PROMOTE),
        "undecided": simulated.rate(Move.EXPIRE),
        "rollback_bars_median": simulated.bars(Move.ROLL_BACK, 0.5),
        "rollback_bars_99": simulated.bars(Move.ROLL_BACK, 0.99),
        "promotion_bars_median": simulated.bars(Move.PROMOTE, 0.5),
        "layers": simulated.layers(Move.ROLL_BACK),
    }


def all_pairs(
    bars: BarPanel, settings: Settings, carded: slice, live: slice, models: tuple[str, ...], horizon: int = 1
) -> list[PairOutcomes]:
    """Pair every two different `models` in both orders on the `live` bars, with cards from `carded`."""
    frame, close = backfill(bars, default_feature_set()), bars.adjusted_close
    policy = EvaluationPolicy.from_settings(settings, configured_strategy(settings.trading))
    tracks = {
        name: make_track(scores, close, frame, carded, policy, live=live, horizon=horizon)
        for name, scores in signal_scores(frame, models).items()
    }
    return [
        pair_tracks(one, other, bars.timestamps, carded=carded, live=live)
        for one, other in permutations(tracks.values(), 2)
    ]


def _caught(simulated: SimulatedRollouts, policy: RolloutPolicy) -> dict[str, Any]:
    """Summarize a fault's rollouts: caught at the first weight, or given more capital."""
    first = policy.weights[0]
    return {
        "caught_at_first_weight": simulated.caught_below(first),
        "given_more_capital": sum(one.weight > first for one in simulated.ended) / len(simulated.ended),
        "rollback_bars_median": simulated.bars(Move.ROLL_BACK, 0.5),
        "rollback_bars_99": simulated.bars(Move.ROLL_BACK, 0.99),
        "layers": simulated.layers(Move.ROLL_BACK),
    }


def _pairs(settings: Settings, question: SimulationRequest) -> tuple[list[PairOutcomes], tuple[str, ...]]:
    source = find_source(settings.data.source)
    known = settings.data.symbols or source.symbols()
    count = question.names or len(known)
    if not MIN_SYMBOLS <= count <= len(known):
        raise InputError(
            f"{count} names are asked for; source '{source.name}' has {len(known)}, and a ranking takes at "
            f"least {MIN_SYMBOLS}"
        )
    chosen = np.random.default_rng(question.seed).permutation(len(known))[:count]
    symbols = tuple(sorted(known[index] for index in chosen))
    bars = BarPanel.from_table(source.history(symbols, chosen_start(settings)))
    # The feature with the longest lookback has no value in the first year.
    first = min(default_feature_set().lookback, len(bars) // 4)
    split = first + int((len(bars) - first) * CARD_SHARE)
    return all_pairs(
        bars, settings, slice(first, split), slice(split, len(bars)), MODELS, question.horizon
    ), symbols


def _spread(pairs: list[PairOutcomes], ours: str, theirs: str) -> float:
    differences = [
        np.asarray(getattr(one.rows, ours)) - np.asarray(getattr(one.rows, theirs)) for one in pairs
    ]
    return float(np.mean([np.nanstd(one) for one in differences]))
