"""The daemon that runs pipelines: it consumes each retrain request once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    """

    def __init__(
        self, settings: Settings, journal: Journal, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        self._requests, self._tell = RequestRunner(settings, journal), tell

    def turn(self) -> bool:
        """Run the oldest request that has no end; False if there is none."""
        pending = self._requests.pending()
        if not pending:
            return False
        request = pending[0]
        self._tell(f"retraining of '{request['model']}' for cause {request['cause_id']} begins")
        self._tell(_told(self._requests.run(request)))
        return True

    def parts(self) -> list[PartHealth]:
        """Return nothing: the runner has no parts of its own."""
        return []

    def __enter__(self) -> RunnerDaemon:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _told(ended: dict[str, Any]) -> str:
    cause = ended["request"]["cause_id"]
    if "failed" in ended:
        return f"cause {cause} was given up after two failed runs: {ended['failed'].splitlines()[0]}"
    return f"cause {cause} ended: {ended['conclusion']}, version {ended.get('version')}"
