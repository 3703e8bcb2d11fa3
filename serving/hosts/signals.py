"""Waiting for the end: SIGTERM from a supervisor, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """Inside this context the first SIGTERM or SIGINT is noted, not acted on.

    So what must not be torn can finish. A second signal acts as it did before. Only the main thread is
    given signals: in another thread nothing is ever noted.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
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

    def wait(self) -> None:
        """Block until a signal comes."""
        self._asked.wait()

    def act(self) -> None:
        """Outside the context: let the signal that was noted, if any, do what it was meant to do."""
        if self._number is not None:
            signal.raise_signal(self._number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore()
        self._asked.set()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
