"""Real outcomes of pairs of models, measured on each bar of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix, Timestamps, to_datetime
from alphaloop.statistics.information_coefficient import information_coefficients
from features.compute.batch import FeatureFrame
from models.evaluation import splits
from models.evaluation.walk_forward import EvaluationPolicy, evaluate_scores, summarise_distribution
from rollouts.evidence.expected_ranges import ExpectedRanges, ranges_from_folds
from rollouts.evidence.layers import PairedMeasurements
from rollouts.evidence.live_performance import BarPerformance, PerformanceTracker

Vector = npt.NDArray[np.float64]

SIGNALS: Mapping[str, tuple[str, float]] = {
    "momentum": ("momentum_252_21", 1.0),
    "reversal": ("return_5", -1.0),
    "low volatility": ("volatility_63", -1.0),
    "near the high": ("distance_high_252", 1.0),
    "half-year return": ("return_126", 1.0),
    "oversold": ("rsi_14", -1.0),
}
"""Models without training, by feature and sign: honest, different from each other and well known."""


@dataclass(frozen=True, slots=True)
class ModelTrack:
    """One model on real bars: scores `[timestamps, symbols]`, performance a bar, folds and ranges."""

    scores: FloatMatrix
    readings: BarPerformance
    folds: tuple[Mapping[str, object], ...]
    ranges: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PairOutcomes:
    """Outcomes of a pair on real bars.

    Each field of `rows` is `[timestamps]`, `symbols` is a count.
    """

    timestamps: Timestamps
    rows: PairedMeasurements
    expectation: ExpectedRanges
    symbols: int

    def between(self, first: int, last: int) -> PairOutcomes:
        """Select the bars from `first` up to `last`, exclusive."""
        rows = PairedMeasurements(*(np.asarray(one)[first:last] for one in self.rows))
        return replace(self, timestamps=self.timestamps[first:last], rows=rows)

    def recentred(self, effect: float = 0.0, *, ic: bool = True, pnl: bool = True) -> PairOutcomes:
        """Make the pair equal on these bars, then the challenger better by `effect`.

        `effect` is in standard deviations of the paired difference a bar. `ic` and `pnl` choose the outcomes
        that change; the other stays equal.
        """
        rows = self.rows
        return replace(
            self,
            rows=rows._replace(
                ic=_recentred(rows.ic, rows.champion_ic, effect * ic),
                net_return=_recentred(rows.net_return, rows.champion_net_return, effect * pnl),
            ),
        )


def signal_scores(frame: FeatureFrame, names: tuple[str, ...] = tuple(SIGNALS)) -> dict[str, FloatMatrix]:
    """Compute the scores of `SIGNALS` on `frame`, float64 `[timestamps, symbols]` each."""
    return {
        name: sign * frame.values[:, :, frame.names.index(feature)].astype(np.float64)
        for name, (feature, sign) in SIGNALS.items()
        if name in names
    }


def measure_performance(
    scores: FloatMatrix,
    close: FloatMatrix,
    frame: FeatureFrame,
    live: slice,
    policy: EvaluationPolicy,
    horizon: int = 1,
) -> BarPerformance:
    """Measure the performance of `scores` on the bars of `live`; each field is `[bars of live]`.

    `scores` and `close` are `[timestamps, symbols]`, of the bars and symbols of `frame`.
    """
    gauge = PerformanceTracker(policy.strategy, policy.costs, frame.symbols, horizon, policy.limits)
    bars = zip(map(to_datetime, frame.timestamps[live]), close[live], scores[live], strict=True)
    rows = np.array([gauge.read(*bar) for bar in bars])
    return BarPerformance(*rows.T)


def make_track(
    scores: FloatMatrix,
    close: FloatMatrix,
    frame: FeatureFrame,
    carded: slice,
    policy: EvaluationPolicy,
    *,
    live: slice,
    horizon: int = 1,
    card_scores: FloatMatrix | None = None,
) -> ModelTrack:
    """Build a model's track: a card from the bars of `carded`, performance on the bars of `live`.

    `card_scores` are the scores behind the card, where they differ from the served ones, as for a model
    trained on leaked data.
    """
    shown = scores if card_scores is None else card_scores
    part = replace(frame, timestamps=frame.timestamps[carded], values=frame.values[carded])
    first = int(part.timestamps[len(part) // 3].astype("datetime64[Y]").astype(int)) + 1971
    folds = splits.walk_forward_folds(part.timestamps, first, policy.folds, policy.horizon)
    untested = replace(policy, permutations=0)
    judged = evaluate_scores(shown[carded], close[carded], part, folds, untested, trials=0)
    seen = measure_performance(scores, close, frame, live, policy, horizon)
    return ModelTrack(scores, seen, judged.folds, judged.ranges)


def pair_tracks(
    champion: ModelTrack, challenger: ModelTrack, timestamps: Timestamps, *, carded: slice, live: slice
) -> PairOutcomes:
    """Pair two tracks on the bars of `live`."""
    ours, theirs = champion.readings, challenger.readings
    agreement = information_coefficients(challenger.scores, champion.scores)
    ranges = {**challenger.ranges, "agreement": summarise_distribution(agreement[carded])}
    nothing = np.zeros(len(agreement[live]))
    rows = PairedMeasurements(
        recomputation=nothing,
        fault=nothing,
        ic=theirs.ic,
        champion_ic=ours.ic,
        net_return=theirs.net_return,
        champion_net_return=ours.net_return,
        turnover=theirs.turnover,
        champion_turnover=ours.turnover,
        persistence=theirs.persistence,
        dispersion=theirs.dispersion,
        agreement=agreement[live],
    )
    expectation = ranges_from_folds(challenger.folds, ranges, champion.folds)
    return PairOutcomes(timestamps[live], rows, expectation, challenger.scores.shape[1])


def _recentred(challenger: npt.ArrayLike, champion: npt.ArrayLike, effect: float) -> Vector:
    ours, theirs = np.asarray(challenger, dtype=np.float64), np.asarray(champion, dtype=np.float64)
    difference = ours - theirs
    return np.asarray(ours - np.nanmean(difference) + effect * np.nanstd(difference))
