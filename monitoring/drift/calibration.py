"""Calibration of the drift monitor: thresholds fixed on the training years alone.

Each feature's threshold is a quantile of its own distances in training, and the share of drifted features
that raises an alarm is the smallest that stayed within the allowed false alarms a year. A feature whose
distribution cannot change, such as a rank over a fixed universe, is monitored by its persistence instead. A
workspace keeps one calibration for each feature set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DamagedStoreError, DataError, MissingStateError
from alphaloop.runtime.stored_values import parse_stored
from alphaloop.settings.drift import DriftSettings
from alphaloop.statistics.bars_per_year import TRADING_DAYS_A_YEAR, bars_per_year
from alphaloop.storage.object_store import MissingObjectError, ObjectStore
from alphaloop.storage.opening import open_store
from features.compute.batch import FeatureFrame
from monitoring.drift.episodes import first_bars
from monitoring.drift.rank_persistence import mean_persistence

REFERENCE_SIZE = 2_000
"""Number of evenly spaced quantiles that represent a feature's training distribution."""
FEATURE_QUANTILE = 0.975
"""Quantile of a feature's distances in training beyond which the feature has drifted."""
BATCH_WINDOWS = 64
"""Windows whose distances are computed at once: few enough for the processor's cache."""
MIN_SAMPLE = 50
"""Minimum number of live values for a meaningful distance."""
MIN_BARS = 252
"""Minimum number of training bars beyond one window for a meaningful quantile of distances."""
ROUNDING_DISTANCE = 1e-6
"""Distance below which a difference is rounding."""
MIN_CHANCE_DISTANCE = 0.25
"""Median distance times the root of the sample size below which a feature's distribution cannot drift.

Independent draws of one distribution give about 0.8.
"""


@dataclass(frozen=True, slots=True)
class DriftCalibration:
    """Thresholds of the drift monitor, fixed on the training years.

    Parameters
    ----------
    features : tuple of str
        Names of the features, in the order of their columns.
    window : int
        Bars of the live window.
    episode_gap : int
        Flagged bars at most this far apart, in bars, are one episode.
    share : float
        Share of drifted features that raises an alarm.
    thresholds : tuple of float
        Largest distance of each feature without drift, in its standard deviations.
    reference : tuple of tuple of float
        `REFERENCE_SIZE` values for each feature.
    false_alarms : int
        Alarms that these thresholds raise in the training years.
    years : float
        Length of the training part, in years.
    feature_set : str
        Hash of the feature set; empty in a calibration written by an earlier release.
    persistence : tuple of float or None
        Usual persistence of each feature monitored by it, None for the others; empty in a calibration
        written by an earlier release.
    coverage : tuple of float
        Share of each feature's values known in training; empty in a calibration written by an earlier
        release.
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
    persistence: tuple[float | None, ...] = ()
    coverage: tuple[float, ...] = ()

    @property
    def unwatched(self) -> tuple[str, ...]:
        """Features without a threshold: too few symbols, or values that neither vary nor move."""
        return tuple(
            name
            for name, threshold, usual, values in zip(
                self.features, self.thresholds, self._persistence, self.reference, strict=True
            )
            if not np.isfinite(threshold)
            # A calibration of an earlier release holds no persistence of ranks.
            or (usual is None and threshold <= ROUNDING_DISTANCE and values[0] != values[-1])
        )

    @property
    def _persistence(self) -> tuple[float | None, ...]:
        return self.persistence or (None,) * len(self.features)

    def usual_persistence(self, column: int) -> float | None:
        """Return a feature's persistence in training; None where its distribution is monitored."""
        return self._persistence[column]

    def values_expected(self, column: int, slots: int) -> float:
        """Return the number of values to expect in `slots` (bars times symbols), as in training."""
        return slots * (self.coverage[column] if self.coverage else 1.0)

    def limit(self, column: int, seen: int, expected: float) -> float:
        """Return the distance beyond which a feature has drifted, given `seen` of `expected` values.

        The distance of a sample from its own distribution falls with the root of its size (Fournier and
        Guillin 2015), so fewer values may be farther away.
        """
        scale = 1.0 if seen >= expected else float(np.sqrt(expected / max(seen, 1)))
        return max(self.thresholds[column], ROUNDING_DISTANCE) * scale

    @property
    def alarms_per_year(self) -> float:
        """False alarms a year in the training years."""
        return self.false_alarms / self.years

    def summary(self) -> dict[str, Any]:
        """Return the calibration for a report, without the reference values."""
        usual = dict(zip(self.features, self._persistence, strict=True))
        return {
            "detector": "wasserstein",
            "window": self.window,
            "share": self.share,
            "thresholds": dict(zip(self.features, self.thresholds, strict=True)),
            "persistence": {name: one for name, one in usual.items() if one is not None},
            "unwatched": list(self.unwatched),
            "feature_quantile": FEATURE_QUANTILE,
            "episode_gap": self.episode_gap,
            "false_alarms": self.false_alarms,
            "years": self.years,
            "alarms_per_year": self.alarms_per_year,
        }

    def save(self, location: str | Path | ObjectStore) -> None:
        """Write the calibration to `location`, beside the first one if that is of another feature set.

        Raises `DamagedStoreError` where the calibration that is there cannot be read.
        """
        store, name = open_store(location), _file_name()
        content = json.dumps(asdict(self)).encode()
        if self.feature_set:
            if store.create(name, content):
                return
            if not DriftCalibration._read(store, name).is_of(self):
                name = _file_name(self.feature_set)
        store.replace(name, content)

    def is_of(self, other: DriftCalibration) -> bool:
        """Compare the feature sets.

        A calibration of an earlier release is compared by feature names.
        """
        if self.feature_set and other.feature_set:
            return self.feature_set == other.feature_set
        return self.features == other.features

    @classmethod
    def load(cls, location: str | Path | ObjectStore, feature_set: str = "") -> DriftCalibration:
        """Read the calibration at `location`, or the one for the feature set with this hash.

        Raises `MissingStateError` where there is none, and `DamagedStoreError` for an unreadable one.
        """
        store = open_store(location)
        name = _file_name(feature_set)
        if not store.exists(name):
            name = _file_name()
        try:
            calibration = cls._read(store, name)
        except MissingObjectError as error:
            raise MissingStateError(
                f"no drift calibration in {store.location}; `alphaloop train` makes one"
            ) from error
        if feature_set and calibration.feature_set and calibration.feature_set != feature_set:
            raise MissingStateError(
                f"no drift calibration for feature set {feature_set[:12]} in {store.location}; "
                "`alphaloop train` with that set makes one"
            )
        return calibration

    @classmethod
    def _read(cls, store: ObjectStore, name: str) -> DriftCalibration:
        try:
            return parse_stored(cls, store.read(name))
        except ValueError as error:
            raise DamagedStoreError(
                f"the drift calibration {store.address(name)} cannot be read: {error}"
            ) from error


def fit_calibration(
    values: npt.NDArray[np.float32],
    features: tuple[str, ...],
    settings: DriftSettings,
    *,
    periods: float = TRADING_DAYS_A_YEAR,
) -> DriftCalibration:
    """Fix the thresholds of the drift monitor on training features.

    Parameters
    ----------
    values : ndarray of float32, shape (bars, symbols, features)
        Features of the training bars; NaN where missing.
    features : tuple of str
        Names of the features, in the order of their columns.
    settings : DriftSettings
        Window, episode gap and allowed false alarms a year.
    periods : float
        Bars a year, by which false alarms a year are counted.

    Returns
    -------
    DriftCalibration

    Raises
    ------
    DataError
        Where there are fewer than 252 bars beyond one window.

    References
    ----------
    .. [1] Villani, C. (2009). Optimal Transport, section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.settings.drift import DriftSettings
    >>> values = np.random.default_rng(0).normal(size=(400, 20, 1)).astype(np.float32)
    >>> fixed = fit_calibration(values, ("momentum",), DriftSettings(window=20))
    >>> fixed.features, fixed.window, len(fixed.reference[0])
    (('momentum',), 20, 2000)
    """
    if len(values) < settings.window + MIN_BARS:
        raise DataError(
            f"drift needs {settings.window + MIN_BARS} training bars to calibrate on (drift.window and "
            f"{MIN_BARS} more); got {len(values)}"
        )
    reference = np.stack([_quantiles(values[:, :, column]) for column in range(len(features))])
    watched = [
        _distances(values[:, :, column], reference[column], settings.window)
        for column in range(len(features))
    ]
    distances = np.stack([one for one, _ in watched])
    thresholds = np.array([_threshold(one) for one in distances])
    share_by_bar = np.mean(distances > thresholds[:, None], axis=0)
    years = len(share_by_bar) / periods
    share, alarms = _alarm_share(share_by_bar, settings.alarms_per_year * years, settings.episode_gap)
    return DriftCalibration(
        features=features,
        window=settings.window,
        episode_gap=settings.episode_gap,
        share=share,
        thresholds=tuple(float(value) for value in thresholds),
        reference=tuple(tuple(float(value) for value in row) for row in reference),
        false_alarms=alarms,
        years=years,
        persistence=tuple(usual for _, usual in watched),
        coverage=tuple(float(share) for share in np.isfinite(values).mean(axis=(0, 1))),
    )


def fit_missing_calibration(
    frame: FeatureFrame, settings: DriftSettings, location: str | Path | ObjectStore
) -> None:
    """Calibrate the feature set of `frame` if drift is monitored and this set has no calibration yet.

    Drift is then monitored as soon as a version of that set becomes champion.
    """
    try:
        known = DriftCalibration.load(location, frame.feature_set)
    except MissingStateError:
        if not open_store(location).exists(_file_name()):
            return
    else:
        if known.feature_set == frame.feature_set or known.features == frame.names:
            return
    fit_calibration_on(frame, settings).save(location)


def fit_calibration_on(frame: FeatureFrame, settings: DriftSettings) -> DriftCalibration:
    """Calibrate on the bars of `frame` from the first on which every symbol has every feature.

    Parameters
    ----------
    frame : FeatureFrame
        Features of the training bars.
    settings : DriftSettings
        Window, episode gap and allowed false alarms a year.

    Returns
    -------
    DriftCalibration
        With the hash of the frame's feature set.

    Raises
    ------
    DataError
        Where no bar has every feature of every symbol, or too few bars follow it.
    """
    complete = np.isfinite(frame.values).all(axis=(1, 2))
    if not complete.any():
        raise DataError(
            "no bar has every feature of every symbol, so what is usual cannot be told; give more history"
        )
    first = int(complete.argmax())
    periods = bars_per_year(frame.timestamps[first:])
    calibration = fit_calibration(frame.values[first:], frame.names, settings, periods=periods)
    return replace(calibration, feature_set=frame.feature_set)


def _file_name(feature_set: str = "") -> str:
    return f"calibration{'-' * bool(feature_set)}{feature_set[:12]}.json"


def _quantiles(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return np.full(REFERENCE_SIZE, np.nan)
    return np.quantile(finite, (np.arange(REFERENCE_SIZE) + 0.5) / REFERENCE_SIZE)


def _distances(
    values: npt.NDArray[np.float32], reference: npt.NDArray[np.float64], window: int
) -> tuple[npt.NDArray[np.float64], float | None]:
    """Compute the distances of `[bars, symbols]` in every window, by distribution or by persistence.

    The second value is the usual persistence, None where the distances are those of the distribution.
    """
    distances = _rolling_distance(values, reference, window)
    if not np.isfinite(distances).any() or reference[0] == reference[-1]:
        return distances, None
    sample = window * float(np.isfinite(values).sum(axis=1).mean())
    if np.nanmedian(distances) * np.sqrt(sample) > MIN_CHANCE_DISTANCE:
        return distances, None
    moving = mean_persistence(values, window)
    if not np.isfinite(moving).any():
        return np.full(len(distances), np.nan), None
    usual = float(np.nanmedian(moving))
    return np.abs(moving - usual), usual


def _threshold(distances: npt.NDArray[np.float64]) -> float:
    known = distances[np.isfinite(distances)]
    return float(np.quantile(known, FEATURE_QUANTILE)) if len(known) else float("nan")


def _rolling_distance(
    values: npt.NDArray[np.float32], reference: npt.NDArray[np.float64], window: int
) -> npt.NDArray[np.float64]:
    """Compute Evidently's distance for every window of `[bars, symbols]` in one pass.

    The distance between a reference of R sorted values and a sample of n values is the mean absolute
    difference of their quantile functions (Villani 2009, "Optimal Transport", 2.2), here taken at the
    reference's R levels, which is exact where n divides R.
    """
    # NaN is sorted to the end, behind the levels of the values that are known.
    usable = np.where(np.isfinite(values), values, np.nan)
    views = np.lib.stride_tricks.sliding_window_view(usable, window, axis=0)
    sizes = np.isfinite(views).sum(axis=(1, 2))
    norm = max(float(np.std(reference)), 0.001)
    distances = np.full(len(views), np.nan)
    differences = np.empty((BATCH_WINDOWS, len(reference)))
    for size in np.unique(sizes[sizes >= MIN_SAMPLE]):
        levels = ((np.arange(len(reference)) + 0.5) / len(reference) * size).astype(np.intp)
        rows = np.flatnonzero(sizes == size)
        for first in range(0, len(rows), BATCH_WINDOWS):
            batch = rows[first : first + BATCH_WINDOWS]
            samples = np.sort(views[batch].reshape(len(batch), -1), axis=1).astype(np.float64)
            part = np.take(samples, levels, axis=1, out=differences[: len(batch)], mode="clip")
            part -= reference
            distances[batch] = np.abs(part, out=part).mean(axis=1) / norm
    return distances


def _alarm_share(share_by_bar: npt.NDArray[np.float64], allowed: float, gap: int) -> tuple[float, int]:
    for share in np.unique(share_by_bar[share_by_bar > 0]):
        alarms = len(first_bars(np.flatnonzero(share_by_bar >= share), gap))
        if alarms <= allowed:
            return float(share), alarms
    return 1.0, int((share_by_bar >= 1.0).any())
