"""State of a drift watch, read from the journal: open episodes and alarms that wait for labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.journal.store import Journal
from alphaloop.journal.streams import FINDING_STREAMS, REQUEST_STREAMS
from monitoring.drift.drift_monitor import DriftMonitor, DriftResult
from monitoring.drift.episodes import BarTimes

DRIFT_ALARM = "drift.alarm"
DRIFT_BLIND = "drift.blind"
DRIFT_FLAGGED = "drift.flagged"
RETRAIN_REQUEST = "retrain.request"


@dataclass(frozen=True, slots=True)
class WaitingAlarm:
    """Journaled alarm without a retrain request yet.

    `bar_seconds` is the usual time between bars.
    """

    cause: str
    as_of: datetime
    share: float
    bar_seconds: float | None


@dataclass(slots=True)
class WatchState:
    """Bars flagged last and alarms that wait for labels.

    `drift_at` and `blind_at` are the last bars on which features had drifted, or were not observed; `unseen`
    are the features of that episode; `uncovered_at` is the last report that no client requests the whole
    universe, `covered_at` the last bar with such a request.
    """

    drift_at: datetime | None = None
    blind_at: datetime | None = None
    unseen: set[str] = field(default_factory=set)
    uncovered_at: datetime | None = None
    waiting: list[WaitingAlarm] = field(default_factory=list)
    covered_at: datetime | None = None

    @classmethod
    def read(cls, journal: Journal, model: str) -> WatchState:
        """Read the state of `model` from its journal records."""
        state = cls()
        takers = {
            DRIFT_ALARM: state._take_alarm,
            DRIFT_FLAGGED: state._take_flagged,
            DRIFT_BLIND: state._take_blind,
            RETRAIN_REQUEST: state._take_request,  # last, because a request settles alarms
        }
        for kind, take in takers.items():
            streams = REQUEST_STREAMS if kind == RETRAIN_REQUEST else FINDING_STREAMS
            for record in journal.records_of(streams, kind):
                if record.body["model"] == model:
                    take(record.body)
        return state

    def resume(self, monitor: DriftMonitor) -> None:
        """Continue the open episodes in a new `monitor`."""
        monitor.drift.last, monitor.blindness.last = self.drift_at, self.blind_at
        monitor.blindness.names = set(self.unseen)

    def add_waiting(self, alarm: WaitingAlarm) -> None:
        """Add an alarm that waits for labels.

        An alarm with a known cause id is ignored.
        """
        if alarm.cause not in {one.cause for one in self.waiting}:
            self.waiting.append(alarm)

    def pop_due(self, times: BarTimes, bars: int) -> WaitingAlarm | None:
        """Pop the newest alarm that is at least `bars` bars old, and drop all earlier ones."""
        counted = [(one, times.since(one.as_of, one.bar_seconds)) for one in self.waiting]
        matured = [one for one, passed in counted if passed is not None and passed >= bars]
        if not matured:
            return None
        newest = max(matured, key=lambda one: one.as_of)
        self.waiting = [one for one in self.waiting if one.as_of > newest.as_of]
        return newest

    def record_of(self, look: DriftResult, monitor: DriftMonitor) -> dict[str, Any] | None:
        """Build the record of newly flagged drift or unobserved features.

        Returns None if nothing is new.
        """
        drift = look.flagged and _later(look.as_of, self.drift_at)
        blind = bool(look.unseen) and _later(look.as_of, self.blind_at)
        if drift:
            self.drift_at = look.as_of
        if blind:
            self.blind_at, self.unseen = look.as_of, set(monitor.blindness.names)
        if not (drift or blind):
            return None
        unseen = sorted(self.unseen) if blind else []
        return {"as_of": look.as_of.isoformat(), "drift": drift, "unseen": unseen}

    def note_uncovered(self, as_of: datetime) -> bool:
        """Note that no client requests the whole universe; True if that is new."""
        reported_at = self.uncovered_at
        if reported_at is not None and (self.covered_at is None or self.covered_at <= reported_at):
            return False
        self.uncovered_at = as_of
        return True

    def _take_alarm(self, body: dict[str, Any]) -> None:
        moment = datetime.fromisoformat(body["as_of"])
        self.drift_at = moment if _later(moment, self.drift_at) else self.drift_at
        self.add_waiting(WaitingAlarm(body["cause_id"], moment, body["share"], body.get("bar_seconds")))

    def _take_flagged(self, body: dict[str, Any]) -> None:
        moment = datetime.fromisoformat(body["as_of"])
        if body["drift"] and _later(moment, self.drift_at):
            self.drift_at = moment
        if body["unseen"] and _later(moment, self.blind_at):
            self.blind_at, self.unseen = moment, set(body["unseen"])

    def _take_blind(self, body: dict[str, Any]) -> None:
        if not body["features"]:
            self.uncovered_at = datetime.fromisoformat(body["as_of"])

    def _take_request(self, body: dict[str, Any]) -> None:
        if "alarm_as_of" in body:
            moment = datetime.fromisoformat(body["alarm_as_of"])
            self.waiting = [one for one in self.waiting if one.as_of > moment]


def _later(moment: datetime, known: datetime | None) -> bool:
    return known is None or moment > known
