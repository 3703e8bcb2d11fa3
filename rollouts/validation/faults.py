"""Planted faults: a real model on real bars, served wrongly or with a false card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from alphaloop.bars import FloatMatrix
from features.compute.batch import FeatureFrame
from models.dataset import Panel, make_dataset
from models.evaluation.walk_forward import EvaluationPolicy, score_bars
from models.family import Family
from models.training.leakage_drill import leak_features
from models.zoo import registry
from rollouts.evidence.layers import PairedMeasurements
from rollouts.validation.pair_outcomes import ModelTrack, PairOutcomes, make_track, pair_tracks

STALE_BARS = 5
TURNOVER_MULTIPLE = 5.0
SERVING_FAULTS: Mapping[str, Callable[[FeatureFrame], FeatureFrame]] = {
    "live inputs rotated by one place": lambda frame: replace(frame, values=np.roll(frame.values, 1, axis=2)),
    "features five bars old under fresh timestamps": lambda frame: replace(frame, values=_late(frame)),
}
"""Faults of features on their way into a server that pass every health check."""


@dataclass(frozen=True, slots=True)
class FaultStudy:
    """Setting of the fault study: features and closes, bars of the card, bars served live, and the family.

    `refit` is the number of bars after which the model is fitted anew, as a trading desk would.
    """

    frame: FeatureFrame
    close: FloatMatrix
    carded: slice
    live: slice
    policy: EvaluationPolicy
    family: str = "lightgbm"
    refit: int = 504

    def scores(self, leak: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
        """Compute the live model's scores on the true features, and the scores behind its card.

        The two differ only with a `leak`, in bars (`models.training.leakage_drill`).
        """
        live, shown = self._served([self.frame, leak_features(self.frame, leak)], leak)
        return live, shown

    def served(self, change: Callable[[FeatureFrame], FeatureFrame]) -> FloatMatrix:
        """Compute the live model's scores on features changed by `change` on their way into the server."""
        return self._served([change(self.frame)], 0)[0]

    def frozen(self, until: int) -> FloatMatrix:
        """Compute the scores of one version, fitted once on the bars before `until`, on every bar."""
        family: Family = registry.find_family(self.family)
        dataset = make_dataset(self.frame, self.close, self.policy.horizon)
        training = dataset.only(range(max(until - self.policy.horizon - 1, 0)))
        fitted = family.fit(training, family.default_parameters(), self.policy.seed)
        return score_bars(family, fitted, self.frame, range(len(self.close)))

    def _served(self, frames: list[FeatureFrame], leak: int) -> list[FloatMatrix]:
        family: Family = registry.find_family(self.family)
        dataset = make_dataset(leak_features(self.frame, leak), self.close, self.policy.horizon)
        out = [np.full(self.close.shape, np.nan) for _ in frames]
        for first in range(self.carded.start, self.live.stop, self.refit):
            rows = range(first, min(first + self.refit, self.live.stop))
            training = dataset.only(range(max(first - self.policy.horizon - 1, 0)))
            fitted = family.fit(training, family.default_parameters(), self.policy.seed)
            for scores, frame in zip(out, frames, strict=True):
                scores[rows.start : rows.stop] = score_bars(family, fitted, frame, rows)
        return out


def plant_faults(bench: FaultStudy, champion: ModelTrack) -> dict[str, PairOutcomes]:
    """Build the outcomes of each fault beside `champion`.

    The first, `honest`, has no fault.
    """
    true, _ = bench.scores()
    honest = _track(bench, true)
    outcomes = {"honest": _pair(bench, champion, honest)}
    for name, change in SERVING_FAULTS.items():
        outcomes[name] = _served(bench, champion, honest, true, bench.served(change))
    outcomes["scores flipped"] = _served(bench, champion, honest, true, -true)
    outcomes["turnover five-fold"] = with_five_fold_turnover(outcomes["honest"], bench.policy.costs.rate)
    live, splendid = bench.scores(leak=bench.policy.horizon)
    outcomes["a leaked model with a splendid card"] = _pair(bench, champion, _track(bench, live, splendid))
    return outcomes


def pair_with_refit(bench: FaultStudy, older: int) -> PairOutcomes:
    """Pair an honest refit with the version of the same family that was trained until bar `older`.

    Neither version is fitted again. The card's folds are those of a walk-forward, and its range of agreement
    is measured against the older version.
    """
    end = bench.carded.stop
    folds, _ = bench.scores()
    champion, challenger = (_track(bench, bench.frozen(until)) for until in (older, end))
    carded = _track(bench, bench.frozen(end), folds)
    shown = _pair(bench, champion, replace(carded, scores=folds))
    live = _pair(bench, champion, challenger)
    return replace(live, expectation=shown.expectation)


def without_recomputation(outcomes: PairOutcomes) -> PairOutcomes:
    """Hide the fault from recomputation, as if the features it recomputes from were wrong as well."""
    blind = outcomes.rows._replace(recomputation=np.zeros(len(outcomes.timestamps)))
    return replace(outcomes, rows=blind)


def with_inverted_ranks(outcomes: PairOutcomes) -> PairOutcomes:
    """Invert the challenger's ranks, without a difference in recomputation."""
    rows = outcomes.rows
    return replace(
        outcomes,
        rows=rows._replace(ic=-np.asarray(rows.ic), agreement=-np.asarray(rows.agreement)),
    )


def with_five_fold_turnover(honest: PairOutcomes, cost: float) -> PairOutcomes:
    """Multiply the challenger's turnover by five, paying `cost` (a share of turnover) on the excess."""
    rows: PairedMeasurements = honest.rows
    turnover = np.asarray(rows.turnover)
    more = (TURNOVER_MULTIPLE - 1.0) * turnover
    return replace(
        honest,
        rows=rows._replace(turnover=turnover + more, net_return=np.asarray(rows.net_return) - cost * more),
    )


def _served(
    bench: FaultStudy, champion: ModelTrack, honest: ModelTrack, true: FloatMatrix, served: FloatMatrix
) -> PairOutcomes:
    live = _pair(bench, champion, replace(_track(bench, served), folds=honest.folds, ranges=honest.ranges))
    carded = _pair(bench, champion, honest)
    with np.errstate(invalid="ignore"):
        difference = np.abs(served - true)[bench.live].max(axis=1)
    return replace(live, rows=live.rows._replace(recomputation=difference), expectation=carded.expectation)


def _late(frame: FeatureFrame) -> Panel:
    values = np.full_like(frame.values, np.nan)
    values[STALE_BARS:] = frame.values[:-STALE_BARS]
    return values


def _track(bench: FaultStudy, scores: FloatMatrix, card_scores: FloatMatrix | None = None) -> ModelTrack:
    return make_track(
        scores, bench.close, bench.frame, bench.carded, bench.policy, live=bench.live, card_scores=card_scores
    )


def _pair(bench: FaultStudy, champion: ModelTrack, challenger: ModelTrack) -> PairOutcomes:
    return pair_tracks(champion, challenger, bench.frame.timestamps, carded=bench.carded, live=bench.live)
