"""Termination signals: SIGTERM from a supervisor, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """Context in which the first SIGTERM or SIGINT is noted, not acted on.

    So work that must not be interrupted can finish. A second signal acts as before. Only the main thread
    receives signals: in another thread none is ever noted.
    """

    def __init__(self) -> None:
        self._signalled = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self._number: int | None = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def by_supervisor(self) -> bool:
        """True if the signal is SIGTERM, which a supervisor sends; Ctrl-C is a person who waits."""
        return self._number == signal.SIGTERM

    @property
    def requested(self) -> bool:
        """True once a signal has come."""
        return self._signalled.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until a signal comes, or for `seconds`; returns whether one has come."""
        return self._signalled.wait(seconds)

    def act(self) -> None:
        """Raise the noted signal again, if any, after the context has ended."""
        if self._number is not None:
            signal.raise_signal(self._number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore()
        self._signalled.set()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
