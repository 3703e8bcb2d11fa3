"""Acceptance study of the rollout's rules: required error rates and power on real outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from alphaloop.bars import BarPanel, FloatMatrix
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import default_feature_set
from marketdata.sources.registry import find_source
from models.evaluation.walk_forward import EvaluationPolicy
from rollouts.evidence.expected_ranges import AGREEMENT_MARGIN
from rollouts.rollback_decision import Move
from rollouts.rollout_policy_settings import RolloutPolicy, make_rollout_policy
from rollouts.validation.faults import (
    FaultStudy,
    pair_with_refit,
    plant_faults,
    with_inverted_ranks,
    without_recomputation,
)
from rollouts.validation.operating_characteristics import all_pairs
from rollouts.validation.pair_outcomes import SIGNALS, PairOutcomes, make_track, signal_scores
from rollouts.validation.simulation import SimulatedRollouts, simulate_on_bootstrap, simulate_on_path
from trading.strategy import configured_strategy

SOURCE = "sp500-20"
MONTHS = ("2008-09", "2011-08", "2020-02", "2020-03")
CARD_FROM = "2003-01-01"
LIVE_FROM = "2010-01-01"
REFIT_TRAINING_ENDS = ("2010-01-01", "2012-01-01")
"""Ends of the training data of an old version and of its refit."""
STARTS_PER_MONTH = 20
"""Number of first bars of a month at each of which a rollout starts."""
MAX_PATH_BARS = 1_000
EQUAL_BARS = (84, 250, 1_000)
EFFECTS = ((1.0, 60), (0.5, 150), (0.2, 1_000))
FAULT_BARS = 126
BOTH, RETURN_ONLY, IC_ONLY = (True, True), (False, True), (True, False)
PARTS = {BOTH: "in both outcomes", RETURN_ONLY: "in net return alone", IC_ONLY: "in IC alone"}


@dataclass(frozen=True, slots=True)
class AcceptanceResult:
    """One result of the study: the share of `rollouts` with the named outcome, on the bars of `where`.

    `target` is None for results that are reported but not checked.
    """

    name: str
    where: str
    rollouts: int
    bars: int
    share: float
    target: float | None = None
    at_most: bool = False
    slowest: float = float("nan")
    layers: str = ""

    @property
    def holds(self) -> bool:
        """True where the share meets its target, or has none."""
        if self.target is None:
            return True
        return self.share <= self.target if self.at_most else self.share >= self.target


@dataclass
class AcceptanceStudy:
    """Acceptance study: all scenarios on the bars of `SOURCE`, `rollouts` of each on bootstrapped dates."""

    settings: Settings
    rollouts: int = 1_000
    models: tuple[str, ...] = tuple(SIGNALS)
    months: tuple[str, ...] = MONTHS
    seed: int = 1

    def findings(self) -> Iterator[AcceptanceResult]:
        """Yield every result as soon as it is computed."""
        yield from self.on_drawn_dates()
        yield from self.on_real_paths()
        yield from self.with_faults()
        yield from self.with_a_refit()
        yield from self.flipped()

    def on_drawn_dates(self, equal: Sequence[int] = EQUAL_BARS) -> Iterator[AcceptanceResult]:
        """Simulate equal and worse challengers on bootstrapped dates since `LIVE_FROM`."""
        pairs = self._pairs(self._carded(LIVE_FROM), slice(self._at(LIVE_FROM), len(self.bars)))

        def play(changed: list[PairOutcomes], bars: int) -> SimulatedRollouts:
            return simulate_on_bootstrap(
                changed, self._policy(bars), rollouts=self.rollouts, bars=bars, seed=self.seed
            )

        where = "drawn dates 2010–22"
        for bars in equal:
            yield _equal(where, bars, play([one.recentred() for one in pairs], bars))
        for effect, bars in EFFECTS:
            for (ic, pnl), words in PARTS.items():
                changed = [one.recentred(-effect, ic=ic, pnl=pnl) for one in pairs]
                target = 0.99 if (ic, pnl) == BOTH else None
                yield _worse(f"worse by {effect:g} sd {words}", where, bars, play(changed, bars), target)

    def with_a_refit(self) -> Iterator[AcceptanceResult]:
        """Simulate an honest refit of the champion's family after two years: equal value, other ranks."""
        older, end = self._at(REFIT_TRAINING_ENDS[0]), self._at(REFIT_TRAINING_ENDS[1])
        carded, live = slice(self._at(CARD_FROM), end), slice(end, len(self.bars))
        bench = FaultStudy(self.frame, self.close, carded, live, self._evaluation)
        pair = pair_with_refit(bench, older).recentred()
        for bars in EQUAL_BARS:
            played = simulate_on_bootstrap(
                [pair], self._policy(bars), rollouts=self.rollouts, bars=bars, seed=self.seed
            )
            yield _equal("drawn dates 2012–22, a two-year refit", bars, played)

    def flipped(self) -> Iterator[AcceptanceResult]:
        """Simulate inverted ranks without recomputation: the power of the layer `behaviour` alone."""
        pairs = self._pairs(self._carded(LIVE_FROM), slice(self._at(LIVE_FROM), len(self.bars)))
        policy = self._policy(FAULT_BARS)
        for name, among in (("every pair", pairs), ("pairs that agree", [p for p in pairs if _agree(p)])):
            played = simulate_on_bootstrap(
                [with_inverted_ranks(one) for one in among],
                policy,
                rollouts=self.rollouts,
                bars=FAULT_BARS,
                seed=self.seed,
            )
            what = f"ranks turned round where recomputation is blind, {name}"
            yield _fault(what, "drawn dates 2010–22", policy, played, None)
            yield _worse(what, "drawn dates 2010–22", FAULT_BARS, played, None)

    def on_real_paths(self) -> Iterator[AcceptanceResult]:
        """Simulate equal and worse challengers on the historical path, from each start in each month."""
        for month in self.months:
            live = self._live(month)
            pairs = self._pairs(self._carded(f"{month}-01"), live)
            there = live.stop - live.start - STARTS_PER_MONTH
            where = f"path of {month}"
            for bars in sorted({min(one, there) for one in EQUAL_BARS}):
                yield _equal(where, bars, self._on_path(pairs, bars, PairOutcomes.recentred))
            for effect, bars in EFFECTS:
                change = partial(PairOutcomes.recentred, effect=-effect)
                played = self._on_path(pairs, min(bars, there), change)
                yield _worse(
                    f"worse by {effect:g} sd in both outcomes", where, min(bars, there), played, 0.99
                )

    def with_faults(self) -> Iterator[AcceptanceResult]:
        """Simulate planted faults, on bootstrapped dates and on the paths.

        A fault is to be caught at the first weight.
        """
        yield from self._faults(
            "drawn dates 2010–22",
            slice(self._at(LIVE_FROM), len(self.bars)),
            LIVE_FROM,
            lambda one, policy: simulate_on_bootstrap(
                [one], policy, rollouts=self.rollouts, bars=FAULT_BARS, seed=self.seed
            ),
        )
        for month in self.months:
            live = slice(self._at(f"{month}-01"), self._at(f"{month}-01") + FAULT_BARS + STARTS_PER_MONTH)
            yield from self._faults(
                f"path of {month}",
                live,
                f"{month}-01",
                lambda one, policy: simulate_on_path([one], policy, range(STARTS_PER_MONTH), FAULT_BARS),
            )

    def _faults(
        self,
        where: str,
        live: slice,
        until: str,
        play: Callable[[PairOutcomes, RolloutPolicy], SimulatedRollouts],
    ) -> Iterator[AcceptanceResult]:
        bench = FaultStudy(self.frame, self.close, self._carded(until), live, self._evaluation)
        momentum = signal_scores(self.frame, ("momentum",))["momentum"]
        champion = make_track(momentum, self.close, self.frame, bench.carded, self._evaluation, live=live)
        policy = self._policy(FAULT_BARS)
        for name, outcomes in plant_faults(bench, champion).items():
            if name == "honest":
                continue
            yield _fault(name, where, policy, play(outcomes, policy), 0.99)
            if np.asarray(outcomes.rows.recomputation).any():
                blind = play(without_recomputation(outcomes), policy)
                yield _fault(f"{name}, where recomputation is blind", where, policy, blind, None)

    def _on_path(
        self, pairs: Sequence[PairOutcomes], bars: int, change: Callable[[PairOutcomes], PairOutcomes]
    ) -> SimulatedRollouts:
        changed = [change(one.between(0, bars + STARTS_PER_MONTH)) for one in pairs]
        return simulate_on_path(changed, self._policy(bars), range(STARTS_PER_MONTH), bars)

    @cached_property
    def bars(self) -> BarPanel:
        """All bars of the source."""
        source = find_source(SOURCE)
        return BarPanel.from_table(source.history(source.symbols()))

    @cached_property
    def frame(self) -> FeatureFrame:
        """Features of `bars`."""
        return backfill(self.bars, default_feature_set())

    @cached_property
    def close(self) -> FloatMatrix:
        """Adjusted closes of `bars`, float64 `[timestamps, symbols]`."""
        return self.bars.adjusted_close

    @property
    def _evaluation(self) -> EvaluationPolicy:
        return EvaluationPolicy.from_settings(self.settings, configured_strategy(self.settings.trading))

    def _policy(self, bars: int) -> RolloutPolicy:
        return replace(make_rollout_policy(self.settings), max_bars=bars)

    def _pairs(self, carded: slice, live: slice) -> list[PairOutcomes]:
        return all_pairs(self.bars, self.settings, carded, live, self.models)

    def _at(self, day: str) -> int:
        return int(np.searchsorted(self.bars.timestamps, np.datetime64(day)))

    def _carded(self, until: str) -> slice:
        return slice(self._at(CARD_FROM), self._at(until))

    def _live(self, month: str) -> slice:
        first = self._at(f"{month}-01")
        return slice(first, min(first + MAX_PATH_BARS + STARTS_PER_MONTH, len(self.bars)))


def _agree(pair: PairOutcomes) -> bool:
    """Return True where the card's range says that both versions always ranked alike."""
    return pair.expectation.agreement is not None and pair.expectation.agreement.low > -AGREEMENT_MARGIN


def _equal(where: str, bars: int, played: SimulatedRollouts) -> AcceptanceResult:
    return AcceptanceResult(
        "equal (A/A): rolled back",
        where,
        len(played.ended),
        bars,
        played.rate(Move.ROLL_BACK),
        0.01,
        at_most=True,
        slowest=played.bars(Move.ROLL_BACK, 0.99),
        layers=_words(played),
    )


def _worse(
    name: str, where: str, bars: int, played: SimulatedRollouts, target: float | None
) -> AcceptanceResult:
    return AcceptanceResult(
        f"{name}: caught",
        where,
        len(played.ended),
        bars,
        played.caught(bars),
        target,
        slowest=played.bars(Move.ROLL_BACK, 0.99),
        layers=_words(played),
    )


def _fault(
    name: str, where: str, policy: RolloutPolicy, played: SimulatedRollouts, target: float | None
) -> AcceptanceResult:
    return AcceptanceResult(
        f"{name}: caught at {policy.weights[0]:.0%} or less",
        where,
        len(played.ended),
        FAULT_BARS,
        played.caught_below(policy.weights[0]),
        target,
        slowest=played.bars(Move.ROLL_BACK, 0.99),
        layers=_words(played),
    )


def _words(played: SimulatedRollouts) -> str:
    return ", ".join(f"{layer} {count}" for layer, count in played.layers(Move.ROLL_BACK).items())
