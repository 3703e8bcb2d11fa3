"""Leakage drill: features from the future, to test that leakage is found by its effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.compute.batch import FeatureFrame


def leak_features(frame: FeatureFrame, bars: int) -> FeatureFrame:
    """Shift features `bars` bars into the past, so that they leak the future.

    The last `bars` rows are NaN. A model that is trained and evaluated on the result has seen the outcomes:
    its card looks splendid, because the evaluation has the same leak, and its live scores are worthless.
    Raises `ValueError` for a negative number of bars.
    """
    if bars < 0:
        raise ValueError(f"a leak of {bars} bars would look into the past; give a positive number")
    if bars == 0:
        return frame
    values = np.full_like(frame.values, np.nan)
    values[:-bars] = frame.values[bars:]
    return replace(frame, values=values)
