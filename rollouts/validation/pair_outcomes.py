"""Real outcomes of pairs of models: what each bar of the past would have told about the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy
from alphaloop.bars import FloatMatrix, Timestamps
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from features.compute.batch import FeatureFrame
from models.evaluation import splits
from models.evaluation.information_coefficient import information_coefficients
from models.evaluation.walk_forward import EvaluationPolicy, distribution, evaluate
from rollouts.evidence.expected_ranges import Expectation, of_folds
from rollouts.evidence.layers import Comparison
from rollouts.evidence.live_performance import Gauge, Reading

Vector = npt.NDArray[np.float64]

SIGNALS: Mapping[str, tuple[str, float]] = {
    "momentum": ("momentum_252_21", 1.0),
    "reversal": ("return_5", -1.0),
    "low volatility": ("volatility_63", -1.0),
    "near the high": ("distance_high_252", 1.0),
    "half-year return": ("return_126", 1.0),
    "oversold": ("rsi_14", -1.0),
}
"""Models without training, by feature and sign: pairs of them are honest, different and known to all."""


@dataclass(frozen=True, slots=True)
class Track:
    """One model on real bars: scores `[timestamps, symbols]`, its readings and what its card says."""

    scores: FloatMatrix
    readings: Reading
    folds: tuple[Mapping[str, object], ...]
    ranges: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A pair on real bars of so many `symbols`: each field of `rows` is `[timestamps]`."""

    timestamps: Timestamps
    rows: Comparison
    expectation: Expectation
    symbols: int

    def between(self, first: int, last: int) -> Outcomes:
        """The bars `first` to `last`, that one left out."""
        rows = Comparison(*(np.asarray(one)[first:last] for one in self.rows))
        return replace(self, timestamps=self.timestamps[first:last], rows=rows)

    def recentred(self, effect: float = 0.0, *, ic: bool = True, pnl: bool = True) -> Outcomes:
        """The pair made equal on these bars, then the challenger better by `effect`.

        In standard deviations of the paired difference a bar; `ic` and `pnl` say in which outcome. The
        other stays equal.
        """
        rows = self.rows
        return replace(
            self,
            rows=rows._replace(
                ic=_recentred(rows.ic, rows.champion_ic, effect * ic),
                net_return=_recentred(rows.net_return, rows.champion_net_return, effect * pnl),
            ),
        )


def signals(frame: FeatureFrame, names: tuple[str, ...] = tuple(SIGNALS)) -> dict[str, FloatMatrix]:
    """The scores of `SIGNALS` on `frame`, `[timestamps, symbols]` each."""
    return {
        name: sign * frame.values[:, :, frame.names.index(feature)].astype(np.float64)
        for name, (feature, sign) in SIGNALS.items()
        if name in names
    }


def readings(
    scores: FloatMatrix,
    close: FloatMatrix,
    allocation: AllocationPolicy,
    costs: CostModel,
    horizon: int = 1,
    limits: BookLimits | None = None,
) -> Reading:
    """What a gauge reads of `scores` bar by bar, both `[timestamps, symbols]`; each field `[timestamps]`."""
    gauge = Gauge(allocation, costs, horizon, limits or BookLimits())
    rows = np.array([gauge.read(prices, made) for prices, made in zip(close, scores, strict=True)])
    return Reading(*rows.T)


def track(
    scores: FloatMatrix,
    close: FloatMatrix,
    frame: FeatureFrame,
    carded: slice,
    policy: EvaluationPolicy,
    *,
    live: slice,
    horizon: int = 1,
    card_scores: FloatMatrix | None = None,
) -> Track:
    """A model with the card that the bars of `carded` give and readings of the bars of `live`.

    `card_scores`, where given, are what the card was made from: a leaked model's are not those it serves.
    """
    shown = scores if card_scores is None else card_scores
    part = replace(frame, timestamps=frame.timestamps[carded], values=frame.values[carded])
    first = int(part.timestamps[len(part) // 3].astype("datetime64[Y]").astype(int)) + 1971
    folds = splits.walk_forward(part.timestamps, first, policy.folds, policy.horizon)
    untested = replace(policy, permutations=0)
    judged = evaluate(shown[carded], close[carded], part, folds, untested, trials=0)
    seen = readings(scores[live], close[live], policy.allocation, policy.costs, horizon, policy.limits)
    return Track(scores, seen, judged.folds, judged.ranges)


def pair(
    champion: Track, challenger: Track, timestamps: Timestamps, *, carded: slice, live: slice
) -> Outcomes:
    """The bars of `live` as a comparison of two tracks on the same bars."""
    ours, theirs = champion.readings, challenger.readings
    agreement = information_coefficients(challenger.scores, champion.scores)
    ranges = {**challenger.ranges, "agreement": distribution(agreement[carded])}
    nothing = np.zeros(len(agreement[live]))
    rows = Comparison(
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
    expectation = of_folds(challenger.folds, ranges, champion.folds)
    return Outcomes(timestamps[live], rows, expectation, challenger.scores.shape[1])


def _recentred(challenger: npt.ArrayLike, champion: npt.ArrayLike, effect: float) -> Vector:
    ours, theirs = np.asarray(challenger, dtype=np.float64), np.asarray(champion, dtype=np.float64)
    difference = ours - theirs
    return np.asarray(ours - np.nanmean(difference) + effect * np.nanstd(difference))
