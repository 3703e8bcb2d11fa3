"""Drift check of the whole prediction log, for `alphaloop monitor --once` and scheduled jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import MissingStateError, UnknownNameError
from alphaloop.forecasts import Route
from alphaloop.journal.opening import open_journal
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import Registry
from monitoring.drift.calibration import DriftCalibration
from monitoring.drift.drift_monitor import DriftMonitor, FeatureMatrix
from monitoring.retrain_policy import make_retrain_policy
from monitoring.retrain_trigger import DriftWatch
from serving.log.logged_answers import LoggedAnswer, distinct_answers, widest_answer
from serving.log.prediction_log import PredictionLogReader, PredictionRow

log = logging.getLogger(__name__)

UniverseOf = Callable[[str], tuple[str, ...]]


def make_drift_watch(settings: Settings, journal: Journal, registry: Registry) -> DriftWatch:
    """Build the drift watch of the served model, with the calibrations of the settings' home.

    Parameters
    ----------
    settings : Settings
        Served model, folder of calibrations and retrain policy.
    journal : Journal
        Journal to which alarms and requests are written.
    registry : Registry
        Registry whose cards name the universe of each version.

    Returns
    -------
    DriftWatch

    Raises
    ------
    MissingStateError
        Where there is no calibration.
    """
    model = settings.serving.model
    return DriftWatch(
        model=model,
        monitor=DriftMonitor(DriftCalibration.load(settings.locations.drift)),
        calibrations=partial(DriftCalibration.load, settings.locations.drift),
        journal=journal,
        policy=make_retrain_policy(settings),
        universe_of=universe_lookup(registry, model),
    )


def check_drift_once(settings: Settings) -> dict[str, Any]:
    """Check every logged bar of the served model.

    Alarms and requests that are not journaled yet are journaled.

    Parameters
    ----------
    settings : Settings
        Served model and the paths of journal, prediction log, registry and calibrations.

    Returns
    -------
    dict
        Drift at the last bar (`share`, `drifted`, `unseen`), all `alarms`, the records that are new in
        the journal (`journaled`), a line about each file of the log that cannot be read (`damaged`; the
        others are checked) and the calibration's summary.

    Raises
    ------
    MissingStateError
        Where no prediction is logged yet, or there is no calibration.
    """
    locations, model = settings.locations, settings.serving.model
    journal = open_journal(settings, SystemClock())
    watch = make_drift_watch(settings, journal, configured_registry(settings))
    damaged: list[str] = []
    rows = PredictionLogReader(
        locations.prediction_log, model, by_symbols=True, on_damage=lambda error: damaged.append(str(error))
    ).new()
    for line in damaged:
        log.warning("%s; the other files were checked", line)
    if not rows:
        raise MissingStateError(f"no prediction of '{model}' is logged in {locations.prediction_log} yet")
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
        "damaged": damaged,
        "calibration": watch.monitor.calibration.summary(),
    }


def universe_lookup(registry: Registry, model: str) -> UniverseOf:
    """Return a cached lookup of each version's universe by its card.

    The universe is empty where the card names none.
    """
    known: dict[str, tuple[str, ...]] = {}

    def of(version: str) -> tuple[str, ...]:
        if version not in known:
            try:
                known[version] = registry.card(model, version).universe
            except UnknownNameError:  # logged under another registry
                known[version] = ()
        return known[version]

    return of


def live_features(
    rows: Iterable[PredictionRow], universe_of: UniverseOf = lambda version: ()
) -> Iterator[tuple[datetime, FeatureMatrix | None, str]]:
    """Yield the champion's logged features bar by bar, with the hash of their feature set.

    Only the champion's rows count: a challenger's inputs are judged by recomputation, and must not raise an
    alarm about the market. Inputs sent by a client are left out, because they are not the market's. A request
    for part of the version's universe is no evidence.

    Parameters
    ----------
    rows : iterable of PredictionRow
        Logged predictions in the order of `as_of`.
    universe_of : callable
        Returns the symbols of a version, empty where they are not known.

    Yields
    ------
    tuple of datetime, ndarray or None, str
        Close of the bar; features, float32 `[symbols, features]` in the order of the universe, or None for a
        bar without a request for the whole universe; hash of the feature set. Where the universe is not
        known, the last answer to most symbols counts.
    """
    by_bar: dict[datetime, list[LoggedAnswer]] = {}
    for answer in distinct_answers(rows):
        if Route.CHAMPION in answer.routes:
            by_bar.setdefault(answer.as_of, []).append(answer)
    for as_of, answers in by_bar.items():
        widest = widest_answer(answers, universe_of)
        if widest is not None:
            row = widest.last
            yield as_of, _aligned(row, universe_of(row.version)), row.feature_set


def _aligned(row: PredictionRow, universe: tuple[str, ...]) -> FeatureMatrix | None:
    if not universe:
        return row.features
    row_of = {symbol: index for index, symbol in enumerate(row.symbols)}
    if not row_of.keys() >= set(universe):
        return None
    return row.features[[row_of[symbol] for symbol in universe]]
