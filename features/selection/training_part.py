"""Training part: the only data that selection reads, with nothing after the split date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, Timestamps, to_datetime
from alphaloop.errors import DataError
from alphaloop.statistics.information_coefficient import MIN_SYMBOLS
from features.compute.batch import backfill
from features.engine.operator import Matrix, Vector
from features.feature_set import FeatureSet
from features.selection.information_coefficient import bar_coefficients, unit_feature_ranks
from features.selection.scaling import CLIP_SPREADS, Panel, Scaling
from features.selection.target import relative_forward_returns

MIN_BARS = 120


@dataclass(frozen=True, eq=False)
class TrainingPart:
    """Features and labels of the bars up to the split date whose labels had matured by then.

    `values` are unscaled features, float32 `[T, N, F]`; `target` is float64 `[T, N]`; `scaling` was fitted on
    `values` only.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    feature_set: FeatureSet
    horizon: int
    values: Panel
    target: Matrix
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the `F` candidates."""
        return self.feature_set.names

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Where there is a label, `[T, N]`: the rows of `rows_between`."""
        return np.asarray(np.isfinite(self.target))

    @cached_property
    def scaled(self) -> Panel:
        """Features in spreads from their centre, `[T, N, F]`; see `Scaling.apply`."""
        return self.scaling.apply(self.values)

    @cached_property
    def scaled_target(self) -> Matrix:
        """The label in standard deviations of its bar, clipped to ±5, `[T, N]`; 0 where there is none.

        So a volatile bar has no more weight than a calm one; with squares of unscaled labels a few weeks of a
        crash would decide.
        """
        labels = np.where(self.labelled, self.target, 0.0)
        count = np.maximum(self.labelled.sum(axis=1, keepdims=True), 1)
        spread = np.sqrt((labels**2).sum(axis=1, keepdims=True) / count)
        scaled = np.divide(labels, spread, out=np.zeros_like(labels), where=spread > 0)
        return np.asarray(np.clip(scaled, -CLIP_SPREADS, CLIP_SPREADS))

    @cached_property
    def ranks(self) -> Panel:
        """Ranks of each feature within each bar as unit vectors, `[T, N, F]`; see `unit_feature_ranks`."""
        ranks = np.empty(self.values.shape, dtype=np.float32)
        for place in range(self.values.shape[2]):
            ranks[..., place] = unit_feature_ranks(self.values[..., place], self.labelled)
        return ranks

    @cached_property
    def coefficients(self) -> Matrix:
        """Information coefficient of each feature on each bar, `[T, F]`."""
        return bar_coefficients(self.ranks, unit_feature_ranks(self.target, self.labelled))

    @cached_property
    def coverage(self) -> Vector:
        """Share of labelled rows on which each feature is known, `[F]`."""
        known = np.isfinite(self.values) & self.labelled[..., None]
        return np.asarray(known.sum(axis=(0, 1)) / max(int(self.labelled.sum()), 1), dtype=np.float64)

    def rows_between(self, bars: range) -> tuple[Panel, Vector]:
        """Return scaled features `[R, F]` and labels `[R]` of a range of bars, in order of time."""
        here = slice(bars.start, bars.stop)
        mask = self.labelled[here]
        return self.scaled[here][mask], self.scaled_target[here][mask]


def training_part(bars: BarPanel, features: FeatureSet, until: datetime, horizon: int) -> TrainingPart:
    """Return features and matured labels of what could be known at `until`.

    Later bars are cut off before anything is computed. The last `horizon + 1` bars have no label yet and are
    left out (purged). Raises `DataError` for too few bars or symbols, and for a missing column.
    """
    known = bars.between(end=until)
    if len(bars.symbols) < MIN_SYMBOLS:
        raise DataError(
            f"selection compares symbols with one another, and these bars are of {len(bars.symbols)}; "
            f"at least {MIN_SYMBOLS} are needed"
        )
    matured = len(known) - horizon - 1
    if matured < MIN_BARS:
        raise DataError(
            f"{max(matured, 0)} bars with a matured label lie before {until.date()}, of {len(bars)} bars "
            f"{_span(bars)}; selection needs {MIN_BARS}: choose a later date or a shorter horizon"
        )
    labels = relative_forward_returns(known.adjusted_close, horizon)[:matured]
    values = backfill(known, features).values[:matured]
    return TrainingPart(
        timestamps=known.timestamps[:matured],
        symbols=known.symbols,
        feature_set=features,
        horizon=horizon,
        values=values,
        target=labels,
        scaling=Scaling.fit(values),
    )


def _span(bars: BarPanel) -> str:
    if not len(bars):
        return "in all"
    return f"from {to_datetime(bars.timestamps[0]).date()} to {to_datetime(bars.timestamps[-1]).date()}"
