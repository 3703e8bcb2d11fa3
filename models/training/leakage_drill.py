"""A drill: a leak put in on purpose, to see it found by what it does and not by being known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.compute.batch import FeatureFrame


def leaked(frame: FeatureFrame, bars: int) -> FeatureFrame:
    """`frame` with the features that are known only `bars` bars later; NaN in the last `bars` rows.

    Whatever is trained and evaluated on it has seen what it foretells: its card looks splendid, since
    the evaluation suffers from the same leak, and its live scores are worth nothing. Raises
    `ValueError` for a negative number of bars.
    """
    if bars < 0:
        raise ValueError(f"a leak of {bars} bars would look into the past; give a positive number")
    if bars == 0:
        return frame
    values = np.full_like(frame.values, np.nan)
    values[:-bars] = frame.values[bars:]
    return replace(frame, values=values)
