"""The daemon that trades one book on the bars that the streamer stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alphaloop.errors import UnreachableStoreError, VendorError
from alphaloop.journal.roles import executor_role
from alphaloop.journal.store import Journal
from alphaloop.telemetry.health import PartHealth, PartState
from loop.daemons.bar_clock import BarClock
from loop.daemons.book_executor import BookExecutor
from loop.daemons.streamed_bars import StreamedBars


@dataclass(frozen=True, slots=True)
class BookAtBar:
    """A book as its journal left it, and the bars after its last decision.

    Parameters
    ----------
    executor : BookExecutor
        Executor whose books were restored from the journal.
    bars : StreamedBars
        Bars after the last one that the book decided.
    """

    executor: BookExecutor
    bars: StreamedBars


class ExecutorDaemon:
    """Executor of one book as a process.

    Parameters
    ----------
    book : str
        Stream of the book in the journal.
    journal : Journal
        Journal in which the executor says which bar it is done with.
    open_book : callable
        Restores the book from the journal; None while no bar was streamed.
    clock : BarClock
        Clock of the executor, which follows the bars.
    """

    def __init__(
        self, book: str, journal: Journal, open_book: Callable[[], BookAtBar | None], clock: BarClock
    ) -> None:
        self._part, self._journal = executor_role(book), journal
        self._open_book, self._clock = open_book, clock
        self._book: BookAtBar | None = None
        self._unanswered = ""

    def turn(self) -> bool:
        """Trade on the next bar; False if there is none.

        Where the journal or the venue fails, it is not known what was done: the book is restored from the
        journal before the next bar.
        """
        try:
            return self._trade()
        except (VendorError, UnreachableStoreError):
            self._book = None
            raise

    def _trade(self) -> bool:
        book = self._book or self._restored()
        found = book.bars.next() if book else None
        if book is None or found is None:
            return False
        bars, head = found
        last = book.executor.engine.last
        if last is not None and bars.timestamp <= last.as_of:
            return True
        self._clock.follow(bars.timestamp, head.pace)
        outcome = book.executor.on_bar(bars)
        self._journal.progress.mark(self._part, bars.timestamp)
        silent = not outcome.forecasts
        self._unanswered = f"no forecast for the bar of {bars.timestamp.isoformat()}" if silent else ""
        return True

    def _restored(self) -> BookAtBar | None:
        self._book = self._open_book()
        last = self._book.executor.engine.last if self._book else None
        if last is not None:
            # Decided, and perhaps not said.
            self._journal.progress.mark(self._part, last.as_of)
        return self._book

    def parts(self) -> list[PartHealth]:
        """Return whether the prediction server answered for the last bar."""
        if self._unanswered:
            return [PartHealth("server", PartState.DEGRADED, f"{self._unanswered}: the book only reduces")]
        return [PartHealth("server")]
