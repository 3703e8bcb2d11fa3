"""Scaling of features by centre and spread, fitted once on the training part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.operator import Vector

Panel = npt.NDArray[np.float32]
"""Features of a universe, `[T, N, F]`."""

CLIP_SPREADS = 5.0
_OF_NORMAL = 1.4826  # the standard deviation of a normal variable in median absolute deviations


@dataclass(frozen=True, eq=False)
class Scaling:
    """`centre` and `spread` of each feature, float64 `[F]`."""

    centre: Vector
    spread: Vector

    @classmethod
    def fit(cls, values: Panel) -> Scaling:
        """Fit median and median absolute deviation (in standard deviations) of finite values `[..., F]`.

        Where more than half of the values are equal (a flag, a pattern), the standard deviation is used as
        spread. A feature that does not vary at all has an infinite spread and is scaled to 0.
        """
        rows = values.reshape(-1, values.shape[-1])
        centre, spread = np.zeros(rows.shape[1]), np.full(rows.shape[1], np.inf)
        for place in range(rows.shape[1]):
            column = rows[:, place][np.isfinite(rows[:, place])].astype(np.float64)
            if not len(column):
                continue
            middle = float(np.median(column))
            width = float(np.median(np.abs(column - middle))) * _OF_NORMAL
            if not width > 0:
                middle, width = float(column.mean()), float(column.std())
            centre[place] = middle
            spread[place] = width if width > 1e-12 * abs(middle) else np.inf
        return cls(centre, spread)

    def apply(self, values: Panel) -> Panel:
        """Scale `values` `[..., F]` to spreads from the centre, clipped to ±5; unknown values become 0."""
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values - self.centre.astype(np.float32)) / self.spread.astype(np.float32)
        finite = np.where(np.isfinite(values), np.clip(scaled, -CLIP_SPREADS, CLIP_SPREADS), 0.0)
        return finite.astype(np.float32)
