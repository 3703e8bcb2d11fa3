"""Drift monitor: compares live features with the training distribution, as Evidently does.

For every feature, the last bars of the prediction log are compared with the training part by the Wasserstein
distance in units of the reference's standard deviation (Evidently's `wasserstein` test), or by their
persistence where the values cannot drift. The thresholds are in `monitoring.drift.calibration`. An alarm is
an episode: flagged bars closer than `episode_gap` form one. Features with too few live values raise an alarm
of their own kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError, VendorError
from monitoring.drift.calibration import MIN_SAMPLE, DriftCalibration
from monitoring.drift.deferred_evidently import defer_evidently
from monitoring.drift.episodes import BarTimes, DatedEpisodes, NamedEpisodes
from monitoring.drift.rank_persistence import mean_persistence
from monitoring.drift.reference import DriftReference

FeatureMatrix = npt.NDArray[np.float32]

MIN_OBSERVED_SHARE = 0.5
"""Share of the values in training below which a feature counts as not observed."""


MAX_TIMES = 10_000
"""Number of the newest bar times that are kept: forty years of days."""


class FeatureComparison(NamedTuple):
    """Comparison of one feature's live window with training: its distance (NaN if not observed) and limit."""

    name: str
    distance: float
    limit: float
    by_persistence: bool

    @property
    def drifted(self) -> bool:
        """True where the distance is beyond its limit."""
        return self.distance > self.limit


@dataclass(frozen=True, slots=True)
class DriftResult:
    """Result of the drift check at one bar.

    Parameters
    ----------
    as_of : datetime
        Close of the bar, in UTC.
    share : float
        Share of all features that have drifted, in [0, 1].
    drifted : tuple of str
        Features beyond their limits.
    distances : dict of str to float
        Distance of each feature from training, in its standard deviations; NaN if not observed.
    unseen : tuple of str
        Features with too few live values.
    flagged : bool
        True where the share reaches the calibrated one.
    drift, blind : bool
        True where this bar begins an episode of drift, or of features that are not observed.
    """

    as_of: datetime
    share: float
    drifted: tuple[str, ...]
    distances: dict[str, float]
    unseen: tuple[str, ...] = ()
    flagged: bool = False
    drift: bool = False
    blind: bool = False

    @property
    def alarm(self) -> bool:
        """True on the first bar of an episode, of either kind."""
        return self.drift or self.blind


class DriftMonitor:
    """Monitor of the live features in the prediction log, bar by bar.

    Parameters
    ----------
    calibration : DriftCalibration
        Reference distributions, thresholds and window, fixed on the training years.
    """

    def __init__(self, calibration: DriftCalibration) -> None:
        self.calibration = calibration
        self.times = BarTimes(MAX_TIMES)
        self._reference = [DriftReference(values) for values in calibration.reference]
        self._window: deque[FeatureMatrix] = deque(maxlen=calibration.window)
        self.drift = DatedEpisodes(calibration.episode_gap)
        self.blindness = NamedEpisodes(calibration.episode_gap)

    def observe(self, as_of: datetime, features: FeatureMatrix) -> DriftResult | None:
        """Add one bar's features, float32 `[symbols, features]`; None until the window is full.

        The order of symbols is the same at every bar. Raises `DataError` if the number of features is not the
        calibrated one.
        """
        expected = len(self.calibration.features)
        if features.ndim != 2 or features.shape[1] != expected:
            raise DataError(
                f"logged features have shape {features.shape}; the calibration knows {expected} features"
            )
        self._window.append(features)
        self.times.add(as_of)
        if len(self._window) < self.calibration.window:
            return None
        compared = list(compare_features(self.calibration, self._reference, list(self._window)))
        drifted = tuple(one.name for one in compared if one.drifted)
        unwatched = frozenset(self.calibration.unwatched)
        unseen = tuple(one.name for one in compared if np.isnan(one.distance) and one.name not in unwatched)
        share = len(drifted) / expected
        flagged = share >= self.calibration.share
        return DriftResult(
            as_of,
            share,
            drifted,
            {one.name: one.distance for one in compared},
            unseen,
            flagged,
            drift=flagged and self.drift.flag(as_of, self.times),
            blind=self.blindness.flag_names(as_of, unseen, self.times),
        )


def compare_features(
    calibration: DriftCalibration, reference: Sequence[DriftReference], window: list[FeatureMatrix]
) -> Iterator[FeatureComparison]:
    """Compare each feature of a window of `[symbols, features]` with its own reference."""
    slots = sum(len(bar) for bar in window)
    aligned = len({len(bar) for bar in window}) == 1
    unwatched = frozenset(calibration.unwatched)
    counts = np.sum([np.isfinite(bar).sum(axis=0) for bar in window], axis=0)
    for column, name in enumerate(calibration.features):
        values = [bar[:, column] for bar in window]
        seen = int(counts[column])
        expected = calibration.values_expected(column, slots)
        usual, distance = calibration.usual_persistence(column), float("nan")
        if seen >= MIN_OBSERVED_SHARE * expected and name not in unwatched:
            if usual is None:
                distance = reference[column].distance(np.concatenate(values))
            elif aligned:
                distance = abs(float(mean_persistence(np.stack(values), len(values))[-1]) - usual)
        yield FeatureComparison(name, distance, calibration.limit(column, seen, expected), usual is not None)


def evidently_distance(reference: Any, live: npt.NDArray[np.floating[Any]]) -> float:
    """Compute Evidently's normed Wasserstein distance of `live` from `reference`, a pandas Series.

    The monitor computes the same with `DriftReference`; this is what that is compared with. NaN where `live`
    has fewer than 50 finite values. Raises `VendorError` where Evidently fails.
    """
    import pandas as pd

    test, numerical = _wasserstein()
    finite = live[np.isfinite(live)]
    if len(finite) < MIN_SAMPLE:
        return float("nan")
    try:
        result = test(reference, pd.Series(finite), numerical, 0.0)
    except (ValueError, TypeError) as error:
        raise VendorError(f"Evidently could not compare {len(finite)} values: {error}") from error
    return float(result.drift_score)


@cache
def _wasserstein() -> tuple[Any, Any]:
    """Import Evidently's Wasserstein test and its column type for numbers."""
    defer_evidently()
    from evidently.legacy.calculations.stattests import wasserstein_stat_test
    from evidently.legacy.core import ColumnType

    return wasserstein_stat_test, ColumnType.Numerical


def write_drift_report(calibration: DriftCalibration, live: FeatureMatrix, path: Path) -> None:
    """Write Evidently's HTML report of `live` against the reference.

    The verdict on each feature, and on all of them, is the monitor's for the same window. Features that are
    not observed are named above the report.

    Parameters
    ----------
    calibration : DriftCalibration
        Reference distributions and thresholds.
    live : ndarray of float32, shape (bars * symbols, features)
        Bars of the calibration's window, one after the other.
    path : Path
        HTML file to write; its folder is made.
    """
    import pandas as pd

    columns = list(calibration.features)
    reference = pd.DataFrame(np.array(calibration.reference).T, columns=columns)
    bars = np.array_split(live, calibration.window if len(live) % calibration.window == 0 else 1)
    references = [DriftReference(values) for values in calibration.reference]
    compared = list(compare_features(calibration, references, bars))
    shown = [one for one in compared if not np.isnan(one.distance)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if shown:
        share = min(calibration.share * len(columns) / len(shown), 1.0)
        current = pd.DataFrame(live, columns=columns)
        _evidently(shown, share, reference, current).save_html(str(path))
    missing = [one.name for one in compared if np.isnan(one.distance)]
    if missing:
        named = escape(", ".join(missing))
        note = f"<p>Not seen, for want of live values or of a threshold: {named}</p>\n"
        page = path.read_text(encoding="utf-8") if shown else "<html><body></body></html>"
        path.write_text(page.replace("<body>", f"<body>{note}", 1), encoding="utf-8")


def _evidently(shown: list[FeatureComparison], share: float, reference: Any, current: Any) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [one.name for one in shown]
    definition = DataDefinition(numerical_columns=names)
    datasets = [Dataset.from_pandas(one[names], data_definition=definition) for one in (current, reference)]
    preset = DataDriftPreset(
        columns=names,
        drift_share=share,
        num_method="wasserstein",
        per_column_method={one.name: _persistence_test(one) for one in shown if one.by_persistence},
        per_column_threshold={one.name: one.limit for one in shown},
    )
    return Report([preset]).run(*datasets)


def _persistence_test(one: FeatureComparison) -> Any:
    """Build an Evidently test that returns the distance measured here, because Evidently knows no bars."""
    from evidently.legacy.calculations.stattests import StatTest
    from evidently.legacy.calculations.stattests.registry import register_stattest
    from evidently.legacy.core import ColumnType

    def measured(reference: Any, current: Any, kind: Any, limit: float) -> tuple[float, bool]:
        return one.distance, one.drifted

    test = StatTest(f"persistence of {one.name}", "persistence across symbols", [ColumnType.Numerical])
    register_stattest(test, measured)
    return test
