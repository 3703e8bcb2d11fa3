"""Look-ahead check: do features change if later bars are removed?

A value known at a bar cannot depend on later bars. Features are computed again from bars that end earlier,
and must be unchanged: the promotion gate requires this proof of a model that is too good to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import feature_set_of

CUT_COUNT = 4
"""Number of bars, within those tested, after which the later bars are removed."""
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-4, 1e-7
"""Tolerances for the last bits of float32, in which sums of different length differ."""


@dataclass(frozen=True, slots=True)
class LookAheadResult:
    """The result: features that changed, number of features, and days after which bars were removed."""

    changed: tuple[str, ...]
    features: int
    days: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if no feature changed."""
        return not self.changed

    @property
    def words(self) -> str:
        """The result in one sentence."""
        cut = f"when the bars after {', '.join(self.days)} are taken away"
        if self.passed:
            return f"look-ahead check: none of {self.features} features changes {cut}"
        named = ", ".join(self.changed[:5]) + ("" if len(self.changed) <= 5 else ", …")
        return f"look-ahead: {len(self.changed)} of {self.features} features change {cut}: {named}"


def check_look_ahead(
    bars: BarPanel, frame: FeatureFrame, settings: Settings, tested: range
) -> LookAheadResult | None:
    """Compare `frame` with features computed from bars that end within `tested`.

    None where `frame` is not of the settings' feature set, so that it cannot be computed again.
    """
    feature_set = feature_set_of(settings)
    if feature_set.hash != frame.feature_set or not len(tested):
        return None
    cuts = [tested[len(tested) * number // (CUT_COUNT + 1)] for number in range(1, CUT_COUNT + 1)]
    changed = np.zeros(len(frame.names), dtype=bool)
    for cut in cuts:
        again = backfill(bars.between(end=to_datetime(bars.timestamps[cut])), feature_set).values
        same = np.isclose(
            again, frame.values[: cut + 1], rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True
        )
        changed |= ~same.all(axis=(0, 1))
    return LookAheadResult(
        changed=tuple(name for name, differs in zip(frame.names, changed, strict=True) if differs),
        features=len(frame.names),
        days=tuple(str(bars.timestamps[cut].astype("datetime64[D]")) for cut in cuts),
    )
