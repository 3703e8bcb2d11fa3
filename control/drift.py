"""Drift: has what the model sees left what it was trained on? The door to Evidently.

For every feature, the last bars of the prediction log are compared with the training part by the
Wasserstein distance in units of the reference's standard deviation (Evidently's `wasserstein` test).
What counts as far is a `control.calibration`. An alarm is an episode: flagged bars closer than
`episode_gap` are one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError, VendorError
from control.calibration import MINIMUM_SAMPLE, Calibration
from control.episodes import Episodes

FeatureMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DriftLook:
    """What one look found. `alarm` is true on the first flagged bar of an episode only."""

    as_of: datetime
    share: float
    drifted: tuple[str, ...]
    distances: dict[str, float]
    alarm: bool


class DriftMonitor:
    """Looks at the live features of the prediction log, bar by bar."""

    def __init__(self, calibration: Calibration) -> None:
        import pandas as pd

        self.calibration = calibration
        self._reference = [pd.Series(values) for values in calibration.reference]
        self._window: deque[FeatureMatrix] = deque(maxlen=calibration.window)
        self._episodes = Episodes(calibration.episode_gap)
        self._bars = 0

    def observe(self, as_of: datetime, features: FeatureMatrix) -> DriftLook | None:
        """Take in one bar's features `[symbols, features]`; None until the window is full.

        Raises `DataError` if the number of features is not the calibrated one.
        """
        expected = len(self.calibration.features)
        if features.ndim != 2 or features.shape[1] != expected:
            raise DataError(
                f"logged features have shape {features.shape}; the calibration knows {expected} features"
            )
        self._window.append(features)
        self._bars += 1
        if len(self._window) < self.calibration.window:
            return None
        live = np.concatenate(list(self._window))
        distances = {
            name: evidently_distance(self._reference[column], live[:, column])
            for column, name in enumerate(self.calibration.features)
        }
        limits = dict(zip(self.calibration.features, self.calibration.thresholds, strict=True))
        drifted = tuple(name for name, distance in distances.items() if distance > limits[name])
        share = len(drifted) / expected
        alarm = self._episodes.flag(self._bars) if share >= self.calibration.share else False
        return DriftLook(as_of, share, drifted, distances, alarm)


def evidently_distance(reference: Any, live: npt.NDArray[np.floating[Any]]) -> float:
    """Evidently's normed Wasserstein distance of `live` from `reference`, a series; NaN on a small sample."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import wasserstein_stat_test
    from evidently.legacy.core import ColumnType

    finite = live[np.isfinite(live)]
    if len(finite) < MINIMUM_SAMPLE:
        return float("nan")
    try:
        result = wasserstein_stat_test(reference, pd.Series(finite), ColumnType.Numerical, 0.0)
    except (ValueError, TypeError) as error:
        raise VendorError(f"Evidently could not compare {len(finite)} values: {error}") from error
    return float(result.drift_score)


def write_report(calibration: Calibration, live: FeatureMatrix, path: Path) -> None:
    """Write Evidently's own HTML report of `live` `[rows, features]` against the reference."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = list(calibration.features)
    definition = DataDefinition(numerical_columns=columns)
    reference = Dataset.from_pandas(
        pd.DataFrame(np.array(calibration.reference).T, columns=columns), data_definition=definition
    )
    current = Dataset.from_pandas(pd.DataFrame(live, columns=columns).dropna(), data_definition=definition)
    snapshot = Report([DataDriftPreset(num_method="wasserstein", num_threshold=0.5)]).run(current, reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(path))
