"""Retrain trigger: drift raises alarms, and alarms become retrain requests once labels have matured.

Every record is journaled under a cause id that the alarm alone determines, so watching the same log twice
raises one alarm and makes one request. Open episodes and waiting alarms are read from the journal when a
watch begins, because the prediction log may by then hold only the last bars. A request is only written here:
`pipelines.request_runner` reads and runs it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.errors import MissingStateError
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM, FINDING_STREAMS, MONITORING_STREAM, REQUEST_STREAM
from monitoring.drift.calibration import DriftCalibration
from monitoring.drift.drift_monitor import MAX_TIMES, DriftMonitor, DriftResult, FeatureMatrix
from monitoring.drift.episodes import BarTimes
from monitoring.drift_watch_state import (
    DRIFT_ALARM,
    DRIFT_BLIND,
    DRIFT_FLAGGED,
    RETRAIN_REQUEST,
    WaitingAlarm,
    WatchState,
)
from monitoring.retrain_policy import RetrainPolicy

log = logging.getLogger(__name__)

DAY_SECONDS, MIN_DAY_SECONDS = 86_400.0, 72_000.0
"""Length of a day, and the minimum time between two bars of different days."""

MAX_LOOKS = 2_000
"""Number of the newest results that are kept for a report."""

__all__ = ["DRIFT_ALARM", "DRIFT_BLIND", "DRIFT_FLAGGED", "RETRAIN_REQUEST", "DriftWatch", "cause_id"]


@dataclass(slots=True)
class DriftWatch:
    """Drift watch of one model's live features.

    Parameters
    ----------
    model : str
        Name of the model.
    monitor : DriftMonitor
        Monitor with the calibration of the present feature set.
    journal : Journal
        Journal from which the watch resumes, and to which alarms and requests are written.
    policy : RetrainPolicy
        Number of labels that must mature after an alarm.
    calibrations : callable, optional
        Loads the calibration of another feature set by its hash, for a champion of another set.
    universe_of : callable
        Returns the symbols of a version in the order of training; empty where they are not known.
    """

    model: str
    monitor: DriftMonitor
    journal: Journal
    policy: RetrainPolicy
    calibrations: Callable[[str], DriftCalibration] | None = None
    universe_of: Callable[[str], tuple[str, ...]] = lambda version: ()
    looks: list[DriftResult] = field(default_factory=list)
    uncovered: int = 0
    _times: BarTimes = field(default_factory=lambda: BarTimes(MAX_TIMES))
    _state: WatchState | None = None
    _unknown: set[str] = field(default_factory=set)
    _reported_unwatched: tuple[str, ...] = ()

    def on_bar(
        self, as_of: datetime, features: FeatureMatrix | None, feature_set: str = ""
    ) -> list[dict[str, Any]]:
        """Check one bar's features, float32 `[symbols, features]`; returns the new journal records.

        `features` is None where no client requested the whole universe: such a bar is no evidence.
        `feature_set` is the hash of their set; a set without a calibration is not monitored, which is logged
        as a warning.
        """
        state = self._read_state()
        if features is None:
            return self._uncovered(as_of, state)
        self.uncovered, state.covered_at = 0, as_of
        self._times.add(as_of)
        news = self._due(as_of, state)
        if not self._is_calibrated(feature_set, features.shape[1], state):
            return news
        look = self.monitor.observe(as_of, features)
        if look is None:
            return news
        self.looks.append(look)
        if len(self.looks) >= 2 * MAX_LOOKS:
            del self.looks[:-MAX_LOOKS]
        return news + self._journal_findings(look, state)

    @property
    def intraday(self) -> bool:
        """True where bars are less than a day apart."""
        return (self._times.spacing or DAY_SECONDS) < MIN_DAY_SECONDS

    def alarms(self) -> list[dict[str, Any]]:
        """Read all journaled alarms of this model, oldest first."""
        records = self.journal.records_of(FINDING_STREAMS, DRIFT_ALARM)
        return [record.body for record in records if record.body["model"] == self.model]

    def _read_state(self) -> WatchState:
        if self._state is None:
            self._state = WatchState.read(self.journal, self.model)
            self._state.resume(self.monitor)
        return self._state

    def _journal_findings(self, look: DriftResult, state: WatchState) -> list[dict[str, Any]]:
        """Journal those findings of `look` that the journal does not hold yet."""
        news: list[dict[str, Any]] = []
        if look.drift:
            news += self._alarm(look, state)
        if look.blind:
            reason = f"{len(look.unseen)} features have too few live values to be compared with training"
            body = {"features": list(look.unseen), "reason": reason}
            news += self._journal_once(
                DRIFT_BLIND, cause_id(self.model, look.as_of, "blind"), look.as_of, body
            )
        flagged = state.record_of(look, self.monitor)
        if flagged is not None:
            self.journal.append(MONITORING_STREAM, DRIFT_FLAGGED, flagged | {"model": self.model})
        return news + self._report_unwatched(look.as_of)

    def _report_unwatched(self, as_of: datetime) -> list[dict[str, Any]]:
        """Journal once the features that have no threshold."""
        unwatched = self.monitor.calibration.unwatched
        if not unwatched or unwatched == self._reported_unwatched:
            return []
        self._reported_unwatched = unwatched
        reason = (
            f"{len(unwatched)} features have no threshold, for want of symbols in drift.window or because an "
            "earlier release fixed the others; alphaloop train fixes them anew"
        )
        body = {"features": list(unwatched), "reason": reason}
        return self._journal_once(DRIFT_BLIND, cause_id(self.model, None, "/".join(unwatched)), as_of, body)

    def _alarm(self, look: DriftResult, state: WatchState) -> list[dict[str, Any]]:
        cause, spacing = cause_id(self.model, look.as_of), self.monitor.times.spacing
        body = {
            "share": look.share,
            "share_threshold": self.monitor.calibration.share,
            "features": list(look.drifted),
            "distances": {name: look.distances[name] for name in look.drifted},
            "bar_seconds": spacing,
        }
        state.add_waiting(WaitingAlarm(cause, look.as_of, look.share, spacing))
        return self._journal_once(DRIFT_ALARM, cause, look.as_of, body)

    def _due(self, as_of: datetime, state: WatchState) -> list[dict[str, Any]]:
        """Request a retraining once enough labels have matured since an alarm.

        Settles earlier alarms too.
        """
        alarm = state.pop_due(self._times, self.policy.bars_to_wait())
        if alarm is None:
            return []
        body = {
            "alarm_as_of": alarm.as_of.isoformat(),
            "family": self.policy.family,
            "matured_labels": self.policy.matured_labels,
            "reason": f"{alarm.share:.0%} of features drifted on {self._named(alarm.as_of)}; "
            f"{self.policy.matured_labels} labels have matured since",
        }
        return self._journal_once(RETRAIN_REQUEST, alarm.cause, as_of, body)

    def _named(self, as_of: datetime) -> str:
        return as_of.isoformat(sep=" ", timespec="minutes")[:16] if self.intraday else str(as_of.date())

    def _uncovered(self, as_of: datetime, state: WatchState) -> list[dict[str, Any]]:
        """Count consecutive bars without a request for the whole universe.

        A full window of them is reported.
        """
        self.uncovered += 1
        if self.uncovered != self.monitor.calibration.window or not state.note_uncovered(as_of):
            return []
        reason = f"on {self.uncovered} bars in a row nobody asked for all symbols of the model's universe"
        cause = cause_id(self.model, as_of, "uncovered")
        return self._journal_once(DRIFT_BLIND, cause, as_of, {"features": [], "reason": reason})

    def _is_calibrated(self, feature_set: str, count: int, state: WatchState) -> bool:
        """Ensure that the monitor is calibrated for the feature set.

        Returns False where no calibration fits.
        """
        present = self.monitor.calibration
        if not feature_set or self.calibrations is None or _fits(present, feature_set, count):
            return True
        if feature_set in self._unknown:
            return False
        try:
            calibration = self.calibrations(feature_set)
            if not _fits(calibration, feature_set, count):
                known = len(calibration.features)
                raise MissingStateError(f"its calibration is of {known} features, and {count} are logged")
        except MissingStateError as error:
            log.warning("drift of '%s' is not watched: %s", self.model, error)
            self._unknown.add(feature_set)
            return False
        self.monitor = DriftMonitor(calibration)
        state.resume(self.monitor)
        return True

    def _journal_once(
        self, kind: str, cause: str, as_of: datetime, body: dict[str, Any]
    ) -> list[dict[str, Any]]:
        stream = REQUEST_STREAM if kind == RETRAIN_REQUEST else MONITORING_STREAM
        full = {"cause_id": cause, "model": self.model, "as_of": as_of.isoformat(), **body}
        # An earlier release journaled findings and requests with the transitions.
        if any(self.journal.find(one, kind, cause_id=cause) is not None for one in (CONTROL_STREAM, stream)):
            return []
        self.journal.append(stream, kind, full, unique="cause_id")
        return [{"kind": kind, **full}]


def _fits(calibration: DriftCalibration, feature_set: str, count: int) -> bool:
    """Compare feature set and number of features.

    An earlier release's calibration names no set.
    """
    return (calibration.feature_set or feature_set) == feature_set and len(calibration.features) == count


def cause_id(model: str, as_of: datetime | None, what: str = "drift") -> str:
    """Compute the id under which the records caused by an alarm at `as_of` are journaled.

    Parameters
    ----------
    model : str
        Name of the model.
    as_of : datetime or None
        Close of the alarm's bar; None for a cause without a bar.
    what : str
        Kind of the cause.

    Returns
    -------
    str
        Sixteen hexadecimal digits, the same for the same cause.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> cause_id("equities", datetime(2020, 3, 16, 21, tzinfo=UTC))
    '46faafc06e33ba8f'
    """
    moment = as_of.isoformat() if as_of else ""
    return hashlib.sha256(f"{model}/{what}/{moment}".encode()).hexdigest()[:16]
