"""Drift: has what the model sees left what it was trained on? The door to Evidently.

For every feature, the last bars of the prediction log are compared with the training part by the
Wasserstein distance in units of the reference's standard deviation (Evidently's `wasserstein` test).
What counts as far is fixed on the training years alone: each feature's threshold is a quantile of its
own distances there, and the share of drifted features that raises an alarm is the smallest that
stayed within the allowed false alarms a year. An alarm is an episode: flagged bars closer than
`episode_gap` are one.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DamagedStoreError, DataError, MissingStateError, VendorError
from alphaloop.settings import DriftSettings
from control.episodes import Episodes, first_bars
from features.build import FeatureFrame

FeatureMatrix = npt.NDArray[np.float32]

REFERENCE_SIZE = 2_000
"""Values that stand for a feature's training distribution: its quantiles, evenly spaced."""
FEATURE_QUANTILE = 0.975
"""A feature has drifted when its distance exceeds this quantile of its distances in training."""
MINIMUM_SAMPLE = 50
"""Live values below which a distance means nothing."""
BARS_PER_YEAR = 252


@dataclass(frozen=True, slots=True)
class Calibration:
    """The monitor's thresholds, fixed on the training years.

    `reference` holds `REFERENCE_SIZE` values for each feature, `thresholds` a distance for each,
    `share` the share of drifted features that raises an alarm. `feature_set` is the hash of the set that the
    features are of, empty in a calibration of before.
    """

    features: tuple[str, ...]
    window: int
    episode_gap: int
    share: float
    thresholds: tuple[float, ...]
    reference: tuple[tuple[float, ...], ...]
    false_alarms: int
    years: float
    feature_set: str = ""

    @property
    def alarms_per_year(self) -> float:
        """False alarms a year in the training years."""
        return self.false_alarms / self.years

    def summary(self) -> dict[str, Any]:
        """What a report shows: all but the reference itself."""
        return {
            "detector": "wasserstein",
            "window": self.window,
            "share": self.share,
            "thresholds": dict(zip(self.features, self.thresholds, strict=True)),
            "feature_quantile": FEATURE_QUANTILE,
            "episode_gap": self.episode_gap,
            "false_alarms": self.false_alarms,
            "years": self.years,
            "alarms_per_year": self.alarms_per_year,
        }

    def save(self, folder: Path) -> None:
        """Keep the calibration in `folder`: beside the first one there, if that is of another feature set."""
        folder.mkdir(parents=True, exist_ok=True)
        path = _file(folder)
        if self.feature_set and path.exists() and not Calibration._read(path).is_of(self):
            path = _file(folder, self.feature_set)
        unfinished = path.with_name(f"{path.name}.tmp")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(path)

    def is_of(self, other: Calibration) -> bool:
        """Whether it is of the same features; one of before says but their names."""
        if self.feature_set and other.feature_set:
            return self.feature_set == other.feature_set
        return self.features == other.features

    @classmethod
    def load(cls, folder: Path, feature_set: str = "") -> Calibration:
        """The calibration kept in `folder`, or there for the feature set with this hash.

        Raises `MissingStateError` where there is none, and `DamagedStoreError` for one that cannot be read.
        """
        path = _file(folder, feature_set)
        if not path.exists():
            path = _file(folder)
        if not path.exists():
            raise MissingStateError(f"no drift calibration in {folder}; `alphaloop train` makes one")
        found = cls._read(path)
        if feature_set and found.feature_set and found.feature_set != feature_set:
            raise MissingStateError(
                f"no drift calibration for feature set {feature_set[:12]} in {folder}; `alphaloop train` "
                "with that set makes one"
            )
        return found

    @classmethod
    def _read(cls, path: Path) -> Calibration:
        try:
            fields = json.loads(path.read_text())
            for name in ("features", "thresholds"):
                fields[name] = tuple(fields[name])
            fields["reference"] = tuple(tuple(values) for values in fields["reference"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedStoreError(f"the drift calibration {path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class DriftLook:
    """What one look found. `alarm` is true on the first flagged bar of an episode only."""

    as_of: datetime
    share: float
    drifted: tuple[str, ...]
    distances: dict[str, float]
    alarm: bool


def calibrate(
    values: npt.NDArray[np.float32], features: tuple[str, ...], settings: DriftSettings
) -> Calibration:
    """Fix the thresholds on training features, float32 `[bars, symbols, features]`.

    Raises `DataError` if there are fewer bars than a year beyond one window.
    """
    if len(values) < settings.window + BARS_PER_YEAR:
        raise DataError(f"drift needs a year of training bars to calibrate on; got {len(values)}")
    reference = np.stack([_quantiles(values[:, :, column]) for column in range(len(features))])
    distances = np.stack(
        [
            _rolling_distance(values[:, :, column], reference[column], settings.window)
            for column in range(len(features))
        ]
    )
    thresholds = np.nanquantile(distances, FEATURE_QUANTILE, axis=1)
    share_by_bar = np.mean(distances > thresholds[:, None], axis=0)
    years = len(share_by_bar) / BARS_PER_YEAR
    share, alarms = _alarm_share(share_by_bar, settings.alarms_per_year * years, settings.episode_gap)
    return Calibration(
        features=features,
        window=settings.window,
        episode_gap=settings.episode_gap,
        share=share,
        thresholds=tuple(float(value) for value in thresholds),
        reference=tuple(tuple(float(value) for value in row) for row in reference),
        false_alarms=alarms,
        years=years,
    )


def calibrate_beside(frame: FeatureFrame, settings: DriftSettings, folder: Path) -> None:
    """Fix thresholds for the feature set of `frame`, where there is a monitor and it has none for these.

    So that drift is watched when a version of that set becomes champion.
    """
    try:
        known = Calibration.load(folder, frame.feature_set)
    except MissingStateError:
        if not _file(folder).exists():
            return
    else:
        if known.feature_set == frame.feature_set or known.features == frame.names:
            return
    calibrate_on(frame, settings).save(folder)


def calibrate_on(frame: FeatureFrame, settings: DriftSettings) -> Calibration:
    """`calibrate` on the bars of `frame` from the first on which every symbol has every feature."""
    complete = np.isfinite(frame.values).all(axis=(1, 2))
    if not complete.any():
        raise DataError(
            "no bar has every feature of every symbol, so what is usual cannot be told; give more history"
        )
    found = calibrate(frame.values[int(complete.argmax()) :], frame.names, settings)
    return replace(found, feature_set=frame.feature_set)


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


def _file(folder: Path, feature_set: str = "") -> Path:
    return folder / f"calibration{'-' * bool(feature_set)}{feature_set[:12]}.json"


def _quantiles(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    finite = values[np.isfinite(values)].astype(np.float64)
    return np.quantile(finite, (np.arange(REFERENCE_SIZE) + 0.5) / REFERENCE_SIZE)


def _rolling_distance(
    values: npt.NDArray[np.float32], reference: npt.NDArray[np.float64], window: int
) -> npt.NDArray[np.float64]:
    """The same distance as Evidently's for every window of `[bars, symbols]`, in one pass.

    Between a reference of R sorted values and a sample of n it is the mean absolute difference of
    their quantile functions (Villani 2009, "Optimal Transport", 2.2), here taken at the reference's R
    levels, which is exact where n divides R.
    """
    views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
    norm = max(float(np.std(reference)), 0.001)
    distances = np.full(len(views), np.nan)
    for index, view in enumerate(views):
        sample = view[np.isfinite(view)]
        if len(sample) >= MINIMUM_SAMPLE:
            levels = np.minimum(
                ((np.arange(len(reference)) + 0.5) / len(reference) * len(sample)), len(sample) - 1
            )
            distances[index] = np.abs(np.sort(sample)[levels.astype(np.intp)] - reference).mean() / norm
    return distances


def _alarm_share(share_by_bar: npt.NDArray[np.float64], allowed: float, gap: int) -> tuple[float, int]:
    for share in np.unique(share_by_bar[share_by_bar > 0]):
        alarms = len(first_bars(np.flatnonzero(share_by_bar >= share), gap))
        if alarms <= allowed:
            return float(share), alarms
    return 1.0, int((share_by_bar >= 1.0).any())
