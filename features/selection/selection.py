"""Selection: from candidates to a feature set, by several methods, on past data only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from alphaloop.bars import BarPanel
from alphaloop.errors import InputError
from features.engine.operator import Vector
from features.feature_set import FeatureSet
from features.selection import ranking as rankings
from features.selection.clustering import Clusters, cluster_features
from features.selection.generation import GeneratedCandidates
from features.selection.held_out import HeldOut, evaluate_held_out
from features.selection.methods.method import METHODS, chosen_methods
from features.selection.null_distribution import NullDistribution, null_distribution
from features.selection.stability import Stability, measure_stability
from features.selection.training_part import TrainingPart, training_part

DEFAULT_HORIZON, DEFAULT_COUNT, DEFAULT_SEED = 5, 20, 7


@dataclass(frozen=True, eq=False)
class SelectionResult:
    """Result of a selection, with everything that its report shows.

    Everything except `held_out` is computed on the training part and does not change with anything after
    `until`.

    Parameters
    ----------
    feature_set : FeatureSet
        Chosen features.
    table : pyarrow.Table
        One row a candidate, from best to worst; see `features.selection.ranking`.
    candidates : FeatureSet
        All candidates, `F` of them.
    part : TrainingPart
        Features and labels of the training part, in the candidates' order.
    clusters : Clusters
        Clusters of similar candidates, in the candidates' order.
    stability : Stability
        Information coefficients over time, in the candidates' order.
    chance : NullDistribution
        The best candidate compared with chance.
    held_out : HeldOut or None
        Results after the split date; None if there are too few bars.
    until : datetime
        Split date.
    horizon : int
        Bars of the forward return.
    methods : tuple of str
        Names of the methods used.
    seed : int
        Seed of the methods.
    """

    feature_set: FeatureSet
    table: pa.Table
    candidates: FeatureSet
    part: TrainingPart
    clusters: Clusters
    stability: Stability
    chance: NullDistribution
    held_out: HeldOut | None
    until: datetime
    horizon: int
    methods: tuple[str, ...]
    seed: int

    @property
    def order(self) -> list[int]:
        """Indices of the candidates, from best to worst."""
        position = {name: place for place, name in enumerate(self.candidates.names)}
        return [position[name] for name in self.table["feature"].to_pylist()]

    @property
    def taken(self) -> list[int]:
        """Indices of the chosen candidates, from best to worst."""
        return [self.candidates.names.index(name) for name in self.feature_set.names]


def select_features(
    bars: BarPanel,
    candidates: FeatureSet | GeneratedCandidates | Sequence[str],
    until: datetime,
    horizon: int = DEFAULT_HORIZON,
    count: int = DEFAULT_COUNT,
    methods: Sequence[str] = (),
    seed: int = DEFAULT_SEED,
    *,
    tell: Callable[[str], None] = lambda news: None,
) -> SelectionResult:
    """Choose features among candidates by what was known at `until`.

    Candidates are ordered by their mean rank over several methods, and one of each cluster is taken.

    Parameters
    ----------
    bars : BarPanel
        Bars of the universe. Those after `until` only enter `SelectionResult.held_out`.
    candidates : FeatureSet, GeneratedCandidates or sequence of str
        Candidates; a `GeneratedCandidates` also carries the number of trials.
    until : datetime
        Split date, with a time zone.
    horizon : int, default 5
        Bars of the forward return that features should predict.
    count : int, default 20
        Maximum number of features.
    methods : sequence of str, default ()
        Names in `features.selection.methods.method.METHODS`; all if empty.
    seed : int, default 7
        Seed; the same bars up to `until` and the same seed give the same result.
    tell : callable, optional
        Called with a line of text at each step.

    Returns
    -------
    SelectionResult
        The feature set, the ranking of all candidates and the evidence.

    Raises
    ------
    InputError
        For a count, horizon or method that is not allowed.
    DataError
        For too few bars or symbols, a missing column, and if no candidate can be chosen.
    FormulaError
        For a candidate that cannot be read or compiled.
    """
    if count < 1:
        raise InputError(f"count is {count}; it is a number of features, at least 1")
    used, (features, tried) = chosen_methods(methods), _candidates(candidates)
    tell(f"{len(features)} candidates over the bars up to {until.date()}")
    part = training_part(bars, features, until, horizon)
    ranked = rankings.rank_candidates(_scores(part, used, seed, tell))
    tell("clusters, stability, and what chance alone would find")
    alike, stable = cluster_features(part), measure_stability(part)
    taken = rankings.choose_candidates(part, ranked, alike, stable, count)
    return SelectionResult(
        feature_set=features.having([features.texts[place] for place in taken]),
        table=rankings.ranking_table(part, ranked, alike, stable, taken),
        candidates=features,
        part=part,
        clusters=alike,
        stability=stable,
        chance=null_distribution(part, tried, seed),
        held_out=evaluate_held_out(bars, features, until, horizon, tried),
        until=until,
        horizon=horizon,
        methods=used,
        seed=seed,
    )


def _scores(
    part: TrainingPart, methods: Sequence[str], seed: int, tell: Callable[[str], None]
) -> dict[str, Vector]:
    scores = {}
    for name in methods:
        tell(f"{name}: {METHODS[name].says}")
        scores[name] = METHODS[name].score(part, seed)
    return scores


def _candidates(candidates: FeatureSet | GeneratedCandidates | Sequence[str]) -> tuple[FeatureSet, int]:
    if isinstance(candidates, GeneratedCandidates):
        return candidates.feature_set, candidates.drawn
    features = candidates if isinstance(candidates, FeatureSet) else FeatureSet(candidates)
    return features, len(features)
