"""Steps on drift: Evidently's report of a run, and a look at the whole prediction log."""

from __future__ import annotations

from html import escape

import numpy as np

from alphaloop.errors import MissingStateError
from pipelines.run_parameter import settings_of_run
from pipelines.steps.step_results import once


def drift_report(settings: str, model: str, run: str) -> str:
    """Write Evidently's report on the last bars of the prediction log.

    Returns its path.

    Raises `MissingStateError` where no prediction is logged yet.
    """
    from models.registry.configured_registry import configured_registry
    from monitoring.drift.calibration import DriftCalibration
    from monitoring.drift.drift_monitor import write_drift_report
    from monitoring.drift_check import live_features, universe_lookup
    from serving.log.prediction_log import PredictionLogReader

    chosen = settings_of_run(settings)
    path = chosen.paths.drift / f"{run}.html"
    if path.exists():
        return str(path)
    rows = PredictionLogReader(chosen.locations.prediction_log, model, by_symbols=True).new()
    universe_of = universe_lookup(configured_registry(chosen), model)
    found = live_features(rows, universe_of)
    logged = [(features, made) for _, features, made in found if features is not None]
    if not logged:
        raise MissingStateError(
            f"no prediction of '{model}' is logged in {chosen.locations.prediction_log} yet"
        )
    newest = logged[-1][1]
    try:
        calibration = DriftCalibration.load(chosen.locations.drift, newest)
    except MissingStateError as error:
        # A report that cannot be made is no reason to train nothing.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<p>{escape(str(error))}</p>\n", encoding="utf-8")
        return str(path)
    seen = [features for features, made in logged if made == newest][-calibration.window :]
    write_drift_report(calibration, np.concatenate(seen), path)
    return str(path)


def watch_drift(settings: str, model: str, run: str) -> str:
    """Check the prediction log for drift, and journal alarms and requests that are not journalled yet.

    Returns the number of new records.

    Raises `MissingStateError` where no prediction is logged yet, or there is no calibration.
    """
    from monitoring.drift_check import check_drift_once

    chosen = settings_of_run(settings)
    serving = chosen.serving.model_copy(update={"model": model})
    watched = chosen.model_copy(update={"serving": serving})
    return once(chosen, run, "watch_drift", lambda: str(len(check_drift_once(watched)["journaled"])))
