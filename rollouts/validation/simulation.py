"""Simulated rollouts on real outcomes, under the tests and stages that decide real rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.matured_labels import BARS_TO_MATURE
from rollouts.evidence.expected_ranges import ExpectedRanges
from rollouts.evidence.layers import EvidenceLayers, PairedMeasurements
from rollouts.rollback_decision import Move, RolloutStage, next_move
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.validation.bootstrap import Indices, stationary_bootstrap
from rollouts.validation.pair_outcomes import PairOutcomes
from rollouts.validation.power import BarRequirements, bars_required

TOLERANCE = 1e-4
FINAL_MOVES = (Move.ROLL_BACK, Move.PROMOTE, Move.EXPIRE)


@dataclass(frozen=True, slots=True)
class RolloutEnd:
    """End of one simulated rollout: the move, the layer behind it, the bars and the last weight."""

    move: Move
    layer: str
    bars: int
    weight: float


@dataclass(slots=True)
class SimulatedRollouts:
    """Many simulated rollouts, with rates and quantiles of their ends."""

    ended: list[RolloutEnd] = field(default_factory=list)

    def rate(self, move: Move) -> float:
        """Return the share of rollouts that ended by `move`."""
        return sum(one.move is move for one in self.ended) / len(self.ended)

    def caught(self, within: int) -> float:
        """Return the share of rollouts rolled back within `within` bars."""
        return sum(one.move is Move.ROLL_BACK and one.bars <= within for one in self.ended) / len(self.ended)

    def caught_below(self, weight: float) -> float:
        """Return the share of rollouts rolled back before holding more than `weight` of capital."""
        caught = sum(one.move is Move.ROLL_BACK and one.weight <= weight for one in self.ended)
        return caught / len(self.ended)

    def bars(self, move: Move, share: float) -> float:
        """Return the quantile `share` of the bars until `move`.

        Returns NaN where no rollout ended by it.
        """
        bars = [one.bars for one in self.ended if one.move is move]
        return float(np.quantile(bars, share)) if bars else float("nan")

    def layers(self, move: Move) -> dict[str, int]:
        """Count the layers behind `move`, most frequent first."""
        return dict(Counter(one.layer for one in self.ended if one.move is move).most_common())


def simulate_on_bootstrap(
    pairs: Sequence[PairOutcomes], policy: RolloutPolicy, *, rollouts: int, bars: int, seed: int
) -> SimulatedRollouts:
    """Simulate rollouts on bootstrapped dates, `rollouts` in total divided evenly over `pairs`."""
    rng = np.random.default_rng(seed)
    drawn: list[PairedMeasurements] = []
    subjects: list[PairOutcomes] = []
    for number, one in enumerate(pairs):
        count = len(range(number, rollouts, len(pairs)))
        if count:
            rows = stationary_bootstrap(rng, len(one.timestamps), bars, count)
            drawn.append(_take(one.rows, rows))
            subjects += [one] * count
    return simulate_rollouts(_joined(drawn), subjects, policy)


def simulate_on_path(
    pairs: Sequence[PairOutcomes], policy: RolloutPolicy, starts: Sequence[int], bars: int
) -> SimulatedRollouts:
    """Simulate every pair from each of `starts`, on the historical path."""
    rows = np.array(starts)[None, :] + np.arange(bars)[:, None]
    drawn = [_take(one.rows, rows) for one in pairs]
    return simulate_rollouts(_joined(drawn), [one for one in pairs for _ in starts], policy)


def simulate_rollouts(
    rows: PairedMeasurements, subjects: Sequence[PairOutcomes], policy: RolloutPolicy
) -> SimulatedRollouts:
    """Run rollouts over `rows`, each field `[bars, rollouts]`, until each has ended.

    `subjects` holds the pair of each rollout. A rollout that has not ended when the rows end counts as
    undecided.
    """
    layers = EvidenceLayers(policy, [one.expectation for one in subjects], TOLERANCE)
    needed = [_needs(one.expectation, policy, one.symbols) for one in subjects]
    stages = dict.fromkeys(range(len(subjects)), (0.0, 0))
    ended: list[RolloutEnd | None] = [None] * len(subjects)
    columns = _warmed(rows, policy.ic_horizon)
    length = len(columns[0])
    for bar in range(1, length + 1):
        layers.observe(PairedMeasurements(*(one[bar - 1] for one in columns)))
        against, favour = layers.against(), layers.favour()
        bad, good = _any(against), _any(favour)
        cleared = {name: flags.tolist() for name, flags in layers.cleared().items()}
        not_worse = layers.not_worse().tolist()
        for number, (weight, since) in list(stages.items()):
            hold = needed[number].hold({fault: flags[number] for fault, flags in cleared.items()})
            stage = RolloutStage(weight, bar, bar - since, hold)
            move = next_move(
                stage, policy, against=bad[number], favour=good[number], not_worse=not_worse[number]
            )
            if move is Move.ADVANCE:
                stages[number] = (stage.next_weight(policy) or weight, bar)
            elif move in FINAL_MOVES or bar == length:
                spoke = {Move.ROLL_BACK: against, Move.PROMOTE: favour}.get(move, {})
                layer = next((name for name, flags in spoke.items() if flags[number]), "")
                ended[number] = RolloutEnd(move if move in FINAL_MOVES else Move.EXPIRE, layer, bar, weight)
                del stages[number]
        if not stages:
            break
    return SimulatedRollouts([one for one in ended if one is not None])


@cache
def _needs(expectation: ExpectedRanges, policy: RolloutPolicy, symbols: int) -> BarRequirements:
    return bars_required(expectation, policy, symbols)


def _warmed(rows: PairedMeasurements, horizon: int) -> list[npt.NDArray[np.float64]]:
    """Return the columns of `rows`, with NaN for values that a rollout does not know at its first bars.

    An information coefficient takes `horizon` bars to mature.
    """
    unknown = {"persistence": 1, **dict.fromkeys(("ic", "champion_ic"), BARS_TO_MATURE - 1 + horizon)}
    columns = [np.array(one, dtype=np.float64) for one in rows]
    for name, column in zip(PairedMeasurements._fields, columns, strict=True):
        if name not in ("recomputation", "fault", "dispersion", "agreement"):
            column[: unknown.get(name, BARS_TO_MATURE)] = np.nan
    return columns


def _any(flags: dict[str, npt.NDArray[np.bool_]]) -> list[bool]:
    return [bool(one) for one in np.logical_or.reduce(list(flags.values()))]


def _take(rows: PairedMeasurements, index: Indices) -> PairedMeasurements:
    return PairedMeasurements(*(np.asarray(one, dtype=np.float64)[index] for one in rows))


def _joined(parts: Sequence[PairedMeasurements]) -> PairedMeasurements:
    columns = zip(*parts, strict=True)
    return PairedMeasurements(
        *(np.concatenate([np.asarray(one) for one in column], axis=1) for column in columns)
    )
