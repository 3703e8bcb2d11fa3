"""One look at the whole prediction log, for `alphaloop monitor --once` and scheduled jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import MissingStateError, UnknownNameError
from alphaloop.forecasts import Route
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings
from models.registry.model_registry import Registry
from monitoring.drift.calibration import Calibration
from monitoring.drift.drift_monitor import DriftMonitor, FeatureMatrix
from monitoring.retrain_policy import retrain_policy
from monitoring.retrain_trigger import DriftWatch
from serving.log.prediction_log import PredictionLogReader, PredictionRow

UniverseOf = Callable[[str], tuple[str, ...]]


def make_watch(settings: Settings, journal: Journal, registry: Registry) -> DriftWatch:
    """The drift watch of the served model, on the calibrations of the settings' home.

    Raises `MissingStateError` where no calibration was made.
    """
    model = settings.serving.model
    return DriftWatch(
        model=model,
        monitor=DriftMonitor(Calibration.load(settings.paths.drift)),
        calibrations=partial(Calibration.load, settings.paths.drift),
        journal=journal,
        policy=retrain_policy(settings),
        universe_of=universes(registry, model),
    )


def look_once(settings: Settings) -> dict[str, Any]:
    """Watch every logged bar of the served model; journal alarms and requests not journaled yet.

    Raises `MissingStateError` where nothing was predicted yet, or no calibration was made.
    """
    paths, model = settings.paths, settings.serving.model
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    watch = make_watch(settings, journal, Registry(paths.registry))
    rows = PredictionLogReader(paths.prediction_log, model, by_symbols=True).new()
    if not rows:
        raise MissingStateError(f"no prediction of '{model}' is logged in {paths.prediction_log} yet")
    journaled = [news for seen in live_features(rows, watch.universe_of) for news in watch.on_bar(*seen)]
    latest = watch.looks[-1] if watch.looks else None
    digits = len("2020-03-16T14:30") if watch.intraday else len("2020-03-16")
    return {
        "model": model,
        "bars": len({row.as_of for row in rows}),
        "share": latest.share if latest else None,
        "share_threshold": watch.monitor.calibration.share,
        "drifted": list(latest.drifted) if latest else [],
        "unseen": list(latest.unseen) if latest else [],
        "unwatched": list(watch.monitor.calibration.unwatched),
        "bars_without_whole_universe": watch.uncovered,
        "alarms": [
            {
                "date": one["as_of"][:digits],
                "share": one["share"],
                "features": one["features"],
            }
            for one in watch.alarms()
        ],
        "journaled": journaled,
        "calibration": watch.monitor.calibration.summary(),
    }


def universes(registry: Registry, model: str) -> UniverseOf:
    """The universe of each version of `model` by its card, read once; empty where the card names none."""
    known: dict[str, tuple[str, ...]] = {}

    def of(version: str) -> tuple[str, ...]:
        if version not in known:
            try:
                known[version] = registry.card(model, version).universe
            except UnknownNameError:  # it was logged beside another registry
                known[version] = ()
        return known[version]

    return of


def live_features(
    rows: Iterable[PredictionRow], universe_of: UniverseOf = lambda version: ()
) -> Iterator[tuple[datetime, FeatureMatrix | None, str]]:
    """The features that the champion saw, bar by bar, float32 `[symbols, features]`, with their set's hash.

    `rows` are in the order of `as_of`. Only the champion's: a challenger's inputs are judged by
    recomputation, and must not raise an alarm about the market. Inputs that a client sent are not the
    market's. An answer to a request for part of the version's universe is no evidence: None stands for a bar
    that has no other. The symbols stand in the order of the universe; where that is not known, the first
    answer to most symbols counts.
    """
    widest: dict[datetime, PredictionRow] = {}
    for row in rows:
        if row.route != Route.CHAMPION or row.as_of is None or not row.symbols:
            continue
        known = widest.get(row.as_of)
        if known is None or _covered(row, universe_of) > _covered(known, universe_of):
            widest[row.as_of] = row
    for as_of, row in widest.items():
        yield as_of, _aligned(row, universe_of(row.version)), row.feature_set


def _covered(row: PredictionRow, universe_of: UniverseOf) -> int:
    """How many symbols that count were asked for."""
    universe, asked = universe_of(row.version), set(row.symbols)
    return len(asked & set(universe)) if universe else len(asked)


def _aligned(row: PredictionRow, universe: tuple[str, ...]) -> FeatureMatrix | None:
    if not universe:
        return row.features
    place = {symbol: index for index, symbol in enumerate(row.symbols)}
    if not place.keys() >= set(universe):
        return None
    return row.features[[place[symbol] for symbol in universe]]
