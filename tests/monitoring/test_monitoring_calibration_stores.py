"""Calibrations of the drift monitor in a folder and in a bucket."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloop.errors import DamagedStoreError, MissingStateError
from alphaloop.settings.drift import DriftSettings
from alphaloop.storage.opening import open_store
from monitoring.drift.calibration import DriftCalibration, fit_calibration


def test_each_feature_set_has_a_calibration_in_both_forms_of_the_store(location: str) -> None:
    """The first keeps the plain name, a further feature set has its own, and errors name the location."""
    with pytest.raises(MissingStateError, match=r"no drift calibration in .*; `alphaloop train` makes one"):
        DriftCalibration.load(location)
    values = np.random.default_rng(0).normal(size=(300, 20, 1)).astype(np.float32)
    first = replace(fit_calibration(values, ("momentum",), DriftSettings()), feature_set="a" * 64)
    first.save(location)
    second = replace(first, feature_set="b" * 64, share=0.5)
    second.save(location)
    assert open_store(location).names() == [f"calibration-{'b' * 12}.json", "calibration.json"]
    assert DriftCalibration.load(location) == first == DriftCalibration.load(location, "a" * 64)
    assert DriftCalibration.load(location, "b" * 64) == second
    replace(first, share=0.25).save(location)
    assert DriftCalibration.load(location).share == 0.25
    with pytest.raises(MissingStateError, match="for feature set cccc"):
        DriftCalibration.load(location, "c" * 64)
    open_store(location).replace("calibration.json", b"{")
    with pytest.raises(DamagedStoreError, match=r"calibration\.json cannot be read"):
        DriftCalibration.load(location)
