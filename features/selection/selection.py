"""Selection: from candidates to a feature set, by several methods at once, on the past alone."""

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
from features.selection.clustering import Clusters, clusters
from features.selection.generation import Generated
from features.selection.held_out import HeldOut, held_out
from features.selection.methods.method import METHODS, chosen
from features.selection.null_distribution import Chance, chance
from features.selection.stability import Stability, stability
from features.selection.training_part import TrainingPart, training_part

HORIZON, COUNT, SEED = 5, 20, 7


@dataclass(frozen=True, eq=False)
class Selected:
    """What was chosen, and all that a report says of it.

    `table` has a row for each candidate, from best to worst; see `ranking.table`. `clusters`, `stability`
    and `part` are in the candidates' own order. All but `held_out` is of the training part, and does not
    change with anything after `until`.
    """

    feature_set: FeatureSet
    table: pa.Table
    candidates: FeatureSet
    part: TrainingPart
    clusters: Clusters
    stability: Stability
    chance: Chance
    held_out: HeldOut | None
    until: datetime
    horizon: int
    methods: tuple[str, ...]
    seed: int

    @property
    def order(self) -> list[int]:
        """The candidates' places from best to worst."""
        position = {name: place for place, name in enumerate(self.candidates.names)}
        return [position[name] for name in self.table["feature"].to_pylist()]

    @property
    def taken(self) -> list[int]:
        """The places of those that were chosen, from best to worst."""
        return [self.candidates.names.index(name) for name in self.feature_set.names]


def select(
    bars: BarPanel,
    candidates: FeatureSet | Generated | Sequence[str],
    until: datetime,
    horizon: int = HORIZON,
    count: int = COUNT,
    methods: Sequence[str] = (),
    seed: int = SEED,
    *,
    tell: Callable[[str], None] = lambda news: None,
) -> Selected:
    """Choose at most `count` of the candidates by what was known at `until`.

    `methods` are names of `methods.METHODS`, all for none. In the order of their mean rank one feature of
    each cluster is taken; see `ranking.choice`. The same bars up to `until` and the same seed give the same.
    `InputError` for a count or method that cannot be, `DataError` for bars that do not suffice.
    """
    if count < 1:
        raise InputError(f"count is {count}; it is a number of features, at least 1")
    used, (features, tried) = chosen(methods), _candidates(candidates)
    tell(f"{len(features)} candidates over the bars up to {until.date()}")
    part = training_part(bars, features, until, horizon)
    ranked = rankings.ranking(_scores(part, used, seed, tell))
    tell("clusters, stability, and what chance alone would find")
    alike, stable = clusters(part), stability(part)
    taken = rankings.choice(part, ranked, alike, stable, count)
    return Selected(
        feature_set=features.having([features.texts[place] for place in taken]),
        table=rankings.table(part, ranked, alike, stable, taken),
        candidates=features,
        part=part,
        clusters=alike,
        stability=stable,
        chance=chance(part, tried, seed),
        held_out=held_out(bars, features, until, horizon, tried),
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


def _candidates(candidates: FeatureSet | Generated | Sequence[str]) -> tuple[FeatureSet, int]:
    if isinstance(candidates, Generated):
        return candidates.feature_set, candidates.drawn
    features = candidates if isinstance(candidates, FeatureSet) else FeatureSet(candidates)
    return features, len(features)
