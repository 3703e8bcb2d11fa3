"""One look at the whole prediction log, for `alphaloop monitor --once` and scheduled jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import MissingStateError
from alphaloop.journal.store import Journal
from alphaloop.prediction import Route
from alphaloop.settings import Settings
from control.calibration import Calibration
from control.drift import DriftMonitor, FeatureMatrix
from control.policies import retrain_policy
from control.watch import DriftWatch
from serving.prediction_log import PredictionLogReader, PredictionRow


def look_once(settings: Settings) -> dict[str, Any]:
    """Watch every logged bar of the served model; journal alarms and requests not journaled yet.

    Raises `MissingStateError` where nothing was predicted yet, or no calibration was made.
    """
    paths, model = settings.paths, settings.serving.model
    watch = DriftWatch(
        model=model,
        monitor=DriftMonitor(Calibration.load(paths.drift)),
        calibrations=partial(Calibration.load, paths.drift),
        journal=Journal(paths.journal, paths.anchors, SystemClock()),
        policy=retrain_policy(settings),
    )
    rows = PredictionLogReader(paths.prediction_log, model, by_symbols=True).new()
    if not rows:
        raise MissingStateError(f"no prediction of '{model}' is logged in {paths.prediction_log} yet")
    journaled = [news for seen in live_features(rows) for news in watch.on_bar(*seen)]
    latest = watch.looks[-1] if watch.looks else None
    return {
        "model": model,
        "bars": len({row.as_of for row in rows}),
        "share": latest.share if latest else None,
        "share_threshold": watch.monitor.calibration.share,
        "drifted": list(latest.drifted) if latest else [],
        "alarms": [
            {"date": look.as_of.date().isoformat(), "share": look.share, "features": list(look.drifted)}
            for look in watch.looks
            if look.alarm
        ],
        "journaled": journaled,
        "calibration": watch.monitor.calibration.summary(),
    }


def live_features(rows: Iterable[PredictionRow]) -> Iterator[tuple[datetime, FeatureMatrix, str]]:
    """The features that the champion saw, bar by bar, float32 `[symbols, features]`, with their set's hash.

    `rows` are in the order of `as_of`. Only the champion's: a challenger's inputs are judged by
    recomputation, and must not raise an alarm about the market. Of several answers for a bar the first to
    most symbols; inputs that a client sent are not the market's.
    """
    widest: dict[datetime, PredictionRow] = {}
    for row in rows:
        if row.route != Route.CHAMPION or row.as_of is None or not row.symbols:
            continue
        known = widest.get(row.as_of)
        if known is None or len(set(row.symbols)) > len(set(known.symbols)):
            widest[row.as_of] = row
    for as_of, row in widest.items():
        yield as_of, row.features, row.feature_set
