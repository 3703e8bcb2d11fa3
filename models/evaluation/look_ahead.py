"""Look-ahead check: does a feature change when the bars after it are taken away?

What is known at a bar cannot depend on later ones. Features are computed again from bars that end earlier,
and have to be what they were: that is the proof that a model too good to be believed is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import feature_set_of

CUTS = 4
"""Places in the tested bars at which later ones are taken away."""
RELATIVE, ABSOLUTE = 1e-4, 1e-7
"""Differences of the last bits of float32, which sums of other length may have, are none."""


@dataclass(frozen=True, slots=True)
class LookAhead:
    """The outcome: the features that changed, out of `features`, and the days on which bars were cut off."""

    changed: tuple[str, ...]
    features: int
    days: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if no feature changed."""
        return not self.changed

    @property
    def words(self) -> str:
        """The outcome in one sentence."""
        cut = f"when the bars after {', '.join(self.days)} are taken away"
        if self.passed:
            return f"look-ahead check: none of {self.features} features changes {cut}"
        named = ", ".join(self.changed[:5]) + ("" if len(self.changed) <= 5 else ", …")
        return f"look-ahead: {len(self.changed)} of {self.features} features change {cut}: {named}"


def look_ahead(bars: BarPanel, frame: FeatureFrame, settings: Settings, tested: range) -> LookAhead | None:
    """Compare `frame` with features of bars that end within `tested`.

    None where `frame` is not of the settings' feature set, so that it cannot be computed again.
    """
    feature_set = feature_set_of(settings)
    if feature_set.hash != frame.feature_set or not len(tested):
        return None
    cuts = [tested[len(tested) * number // (CUTS + 1)] for number in range(1, CUTS + 1)]
    changed = np.zeros(len(frame.names), dtype=bool)
    for cut in cuts:
        again = backfill(bars.between(end=to_datetime(bars.timestamps[cut])), feature_set).values
        same = np.isclose(again, frame.values[: cut + 1], rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        changed |= ~same.all(axis=(0, 1))
    return LookAhead(
        changed=tuple(name for name, differs in zip(frame.names, changed, strict=True) if differs),
        features=len(frame.names),
        days=tuple(str(bars.timestamps[cut].astype("datetime64[D]")) for cut in cuts),
    )
