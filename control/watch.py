"""The drift watch: alarms become alerts, and alerts become retrain requests when labels allow.

Everything is journaled under a cause id that the alarm alone determines, so watching the same log
twice alarms once and asks for one retraining.
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
from control.calibration import Calibration
from control.drift import DriftLook, DriftMonitor, FeatureMatrix
from control.policies import RetrainPolicy
from control.transition import CONTROL_STREAM

log = logging.getLogger(__name__)

ALARM = "drift.alarm"
RETRAIN_REQUEST = "retrain.request"


@dataclass(slots=True)
class DriftWatch:
    """Watches one model's live features.

    `calibrations` gives that of another feature set by its hash, for when a champion of another takes over.
    """

    model: str
    monitor: DriftMonitor
    journal: Journal
    policy: RetrainPolicy
    calibrations: Callable[[str], Calibration] | None = None
    looks: list[DriftLook] = field(default_factory=list)
    _waiting: dict[str, tuple[DriftLook, int]] = field(default_factory=dict)
    _unknown: set[str] = field(default_factory=set)

    def on_bar(self, as_of: datetime, features: FeatureMatrix, feature_set: str = "") -> list[dict[str, Any]]:
        """Take in one bar's features `[symbols, features]`; returns what was newly journaled.

        `feature_set` is the hash of their set; one that there is no calibration for is not watched, and the
        log says so.
        """
        news = self._count_down(as_of)
        look = self.monitor.observe(as_of, features) if self._knows(feature_set, features.shape[1]) else None
        if look is None:
            return news
        self.looks.append(look)
        if look.alarm:
            cause = cause_id(self.model, look.as_of)
            self._waiting[cause] = (look, 0)
            news += self._journal_once(
                ALARM,
                cause,
                {
                    "as_of": look.as_of.isoformat(),
                    "share": look.share,
                    "share_threshold": self.monitor.calibration.share,
                    "features": list(look.drifted),
                    "distances": {name: look.distances[name] for name in look.drifted},
                },
            )
        return news

    def _knows(self, feature_set: str, count: int) -> bool:
        """Whether the monitor is calibrated for `count` features of the set; changed for one that is."""
        present = self.monitor.calibration
        if not feature_set or self.calibrations is None or _fits(present, feature_set, count):
            return True
        if feature_set in self._unknown:
            return False
        try:
            found = self.calibrations(feature_set)
            if not _fits(found, feature_set, count):
                known = len(found.features)
                raise MissingStateError(f"its calibration is of {known} features, and {count} are logged")
        except MissingStateError as error:
            log.warning("drift of '%s' is not watched: %s", self.model, error)
            self._unknown.add(feature_set)
            return False
        self.monitor = DriftMonitor(found)
        return True

    def _count_down(self, as_of: datetime) -> list[dict[str, Any]]:
        news: list[dict[str, Any]] = []
        for cause, (look, waited) in list(self._waiting.items()):
            if waited + 1 < self.policy.bars_to_wait():
                self._waiting[cause] = (look, waited + 1)
                continue
            del self._waiting[cause]
            news += self._journal_once(
                RETRAIN_REQUEST,
                cause,
                {
                    "as_of": as_of.isoformat(),
                    "alarm_as_of": look.as_of.isoformat(),
                    "family": self.policy.family,
                    "matured_labels": self.policy.matured_labels,
                    "reason": f"{look.share:.0%} of features drifted on {look.as_of.date()}; "
                    f"{self.policy.matured_labels} labels have matured since",
                },
            )
        return news

    def _journal_once(self, kind: str, cause: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        full = {"cause_id": cause, "model": self.model, **body}
        if self.journal.find(CONTROL_STREAM, kind, cause_id=cause) is not None:
            return []
        with self.journal.writer(CONTROL_STREAM) as writer:
            writer.append(kind, full)
        return [{"kind": kind, **full}]


def _fits(calibration: Calibration, feature_set: str, count: int) -> bool:
    """Whether it is of that set; one of before does not say of which it is, but of how many features."""
    return (calibration.feature_set or feature_set) == feature_set and len(calibration.features) == count


def cause_id(model: str, as_of: datetime) -> str:
    """The id of what an alarm at `as_of` causes."""
    return hashlib.sha256(f"{model}/drift/{as_of.isoformat()}".encode()).hexdigest()[:16]
