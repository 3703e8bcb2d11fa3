"""Calibration of the drift monitor: what counts as far, fixed on the training years alone.

Each feature's threshold is a quantile of its own distances there, and the share of drifted features that
raises an alarm is the smallest that stayed within the allowed false alarms a year. A workspace keeps one
calibration for each feature set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DamagedStoreError, DataError, MissingStateError
from alphaloop.frequency import TRADING_DAYS_A_YEAR, bars_per_year
from alphaloop.settings import DriftSettings
from control.episodes import first_bars
from features.build import FeatureFrame

REFERENCE_SIZE = 2_000
"""Values that stand for a feature's training distribution: its quantiles, evenly spaced."""
FEATURE_QUANTILE = 0.975
"""A feature has drifted when its distance exceeds this quantile of its distances in training."""
MINIMUM_SAMPLE = 50
"""Live values below which a distance means nothing."""
MIN_BARS = 252
"""Training bars beyond one window below which a quantile of distances means little."""


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


def calibrate(
    values: npt.NDArray[np.float32],
    features: tuple[str, ...],
    settings: DriftSettings,
    *,
    periods: float = TRADING_DAYS_A_YEAR,
) -> Calibration:
    """Fix the thresholds on training features, float32 `[bars, symbols, features]`.

    `periods` is how many bars a year has: what false alarms a year are counted by. Raises `DataError`
    where there are fewer than `MIN_BARS` bars beyond one window.
    """
    if len(values) < settings.window + MIN_BARS:
        raise DataError(
            f"drift needs {settings.window + MIN_BARS} training bars to calibrate on (drift.window and "
            f"{MIN_BARS} more); got {len(values)}"
        )
    reference = np.stack([_quantiles(values[:, :, column]) for column in range(len(features))])
    distances = np.stack(
        [
            _rolling_distance(values[:, :, column], reference[column], settings.window)
            for column in range(len(features))
        ]
    )
    thresholds = np.nanquantile(distances, FEATURE_QUANTILE, axis=1)
    share_by_bar = np.mean(distances > thresholds[:, None], axis=0)
    years = len(share_by_bar) / periods
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
    """Fix thresholds for the feature set of `frame`, where there are none yet.

    So that drift is watched when a version of that set becomes champion.
    """
    try:
        known = Calibration.load(folder, frame.feature_set)
    except MissingStateError:
        pass
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
    first = int(complete.argmax())
    periods = bars_per_year(frame.timestamps[first:])
    found = calibrate(frame.values[first:], frame.names, settings, periods=periods)
    return replace(found, feature_set=frame.feature_set)


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
