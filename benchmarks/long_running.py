"""Cost of a bar after years: control's features and drift, early and late.

    python benchmarks/long_running.py

A bar may cost at most 1.2 times as much at bar 5,000 as at bar 500, with the same memory; `monitor --once` on
two years of daily bars may take 2 s of processor time after its imports.
"""

from __future__ import annotations

import resource
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import monotonic
from alphaloop.settings.settings import Settings, load_settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import DEFAULT
from marketdata.sources.registry import find_source
from models.registry.card import Card
from monitoring.drift.calibration import fit_calibration_on
from monitoring.drift.drift_monitor import DriftMonitor
from monitoring.drift_check import check_drift_once
from rollouts.evidence.bar_window import BarWindow
from rollouts.evidence.followed_frames import FollowedFrames
from serving.log.prediction_row import PredictionRow, partition_folder, rows_to_table

WINDOW_BARS, LOOKBACK, TAKEN = 60, 60, 100
EARLY, LATE, YEARS_BARS = 500, 5_000, 504
MAX_RATIO, MAX_CHECK_SECONDS = 1.2, 2.0


def main() -> None:
    """Print both comparisons."""
    bars = BarPanel.from_table(find_source("sp500-20").history(find_source("sp500-20").symbols()))
    frame = backfill(bars, DEFAULT)
    settings = load_settings(home=Path(tempfile.mkdtemp(prefix="alphaloop-long-")))
    fit_calibration_on(_part(frame, 0, 3_000), settings.drift).save(settings.paths.drift)
    per_bar(bars, frame, settings)
    once(frame, settings)


def per_bar(bars: BarPanel, frame: FeatureFrame, settings: Settings) -> None:
    """Judge bar after bar on a window, and compare the times and the memory of an early and a late one."""
    from monitoring.drift.calibration import DriftCalibration

    card = cast(
        "Card",
        SimpleNamespace(feature_set=DEFAULT.hash, universe=bars.symbols, lookback=LOOKBACK, definition={}),
    )
    first = len(bars) - LATE - TAKEN
    window, followed = BarWindow(bars.part(0, first), WINDOW_BARS), FollowedFrames(DEFAULT)
    followed.at(bars.part(0, first)).of(card)
    monitor = DriftMonitor(DriftCalibration.load(settings.paths.drift))
    seconds: list[float] = []
    memory: dict[int, float] = {}
    for number in range(LATE + TAKEN):
        began = monotonic()
        window.add(bars.at(first + number))
        features = followed.at(window.panel()).of(card).values[-1]
        monitor.observe(to_datetime(bars.timestamps[first + number]), features)
        seconds.append(monotonic() - began)
        if number in (EARLY, LATE):
            memory[number] = resident_mb()
    early, late = (median(seconds[at : at + TAKEN]) * 1e3 for at in (EARLY, LATE))
    print(f"a bar of features and drift: bar {EARLY} {early:.2f} ms, bar {LATE} {late:.2f} ms,", end=" ")
    print(f"ratio {late / early:.2f} (at most {MAX_RATIO});", end=" ")
    print(f"resident {memory[EARLY]:.0f} and {memory[LATE]:.0f} MB, window {window.held} bars")


def once(frame: FeatureFrame, settings: Settings) -> None:
    """Check two years of log, one file a bar, as a server leaves it."""
    folder = partition_folder(settings.paths.prediction_log, settings.serving.model)
    folder.mkdir(parents=True)
    for index in range(len(frame) - YEARS_BARS, len(frame)):
        pq.write_table(rows_to_table([_row(frame, index, settings)]), folder / f"server-{index:06d}.parquet")
    check_drift_once(settings)  # imports, and the journal
    began, cpu = monotonic(), time.process_time()
    found: dict[str, Any] = check_drift_once(settings)
    print(
        f"monitor --once on {found['bars']} bars: {time.process_time() - cpu:.2f} s of processor, "
        f"{monotonic() - began:.2f} s (at most {MAX_CHECK_SECONDS:g} s); {len(found['alarms'])} alarms"
    )


def resident_mb() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _part(frame: FeatureFrame, begin: int, end: int) -> FeatureFrame:
    values = frame.values[begin:end]
    return FeatureFrame(frame.timestamps[begin:end], frame.symbols, frame.names, values, frame.feature_set)


def _row(frame: FeatureFrame, index: int, settings: Settings) -> PredictionRow:
    as_of = to_datetime(frame.timestamps[index])
    return PredictionRow(
        prediction_id=f"p-{index}", logged_at=as_of + timedelta(seconds=1), as_of=as_of,
        feature_timestamp=as_of,
        model=settings.serving.model, version="1", digest="", route="champion",
        route_keys=tuple(f"sleeve-{place:02d}" for place in range(20)), symbols=frame.symbols,
        scores=(0.0,) * len(frame.symbols), statuses=("ok",) * len(frame.symbols),
        features=frame.values[index], input_hash=str(index), feature_set=frame.feature_set, snapshot="",
        generation=1, latency_ms=1.0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
