"""The daemon that runs pipelines: it consumes each retrain request once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings
from alphaloop.telemetry.health import PartHealth
from pipelines.request_runner import RequestRunner


class RunnerDaemon:
    """Runner of the journal's retrain requests, one after the other.

    Parameters
    ----------
    settings : Settings
        Settings of the pipeline runs.
    journal : Journal
        Journal with the requests.
    tell : callable
        Called with a line when a run begins and when it has ended.
    role : RoleLease, optional
        The role `runner`; a run on this machine ends once it was lost.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        tell: Callable[[str], None] = lambda line: None,
        role: RoleLease | None = None,
    ) -> None:
        self._requests, self._tell = RequestRunner(settings, journal, role), tell
        self._begun = ""

    def turn(self) -> bool:
        """Follow the run of the oldest request that has no end; True if it ended."""
        pending = self._requests.pending()
        if not pending:
            return False
        request = pending[0]
        if request["cause_id"] != self._begun:
            self._begun = request["cause_id"]
            self._tell(f"retraining of '{request['model']}' for cause {self._begun} begins")
        ended = self._requests.turn()
        for one in ended:
            self._tell(_told(one))
        return bool(ended)

    def parts(self) -> list[PartHealth]:
        """Return nothing: the runner has no parts of its own."""
        return []

    def __enter__(self) -> RunnerDaemon:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.stop()


def _told(ended: dict[str, Any]) -> str:
    cause = ended["request"]["cause_id"]
    if "failed" in ended:
        return f"cause {cause} was given up after two failed runs: {ended['failed'].splitlines()[0]}"
    return f"cause {cause} ended: {ended['conclusion']}, version {ended.get('version')}"
