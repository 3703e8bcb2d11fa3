"""The daemon that streams one source: the bars that close, or those of a replay, one after the other.

It alone has a source and a clock. A bar is stored, then its features are written to the online store, then
the head of the source moves, and the other parts take it up. In lockstep the next bar waits until they are
done with this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Protocol

from alphaloop.bars import Slice
from alphaloop.clock import monotonic, sleep
from alphaloop.journal.positions.source_heads import Pace, SourceHead
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.telemetry.health import PartHealth, PartState
from loop.daemons.bar_streamer import BarStreamer
from loop.daemons.frame import WorkDoneError

MAX_WAIT_SECONDS = 0.25
"""Longest wait for a bar within one turn, so that the end of the process is noticed."""
PATIENCE_SECONDS = 30.0
"""Seconds between two lines about the same part that a replay in lockstep waits for."""


class BarFeed(Protocol):
    """Bars of one source in order, as they become due."""

    pace: Pace

    def next(self) -> Slice | None:
        """Return the next bar, or None if none is due within a moment; `WorkDoneError` after the last."""
        ...


class ReplayFeed:
    """Past bars as if they closed now: at a multiple of their pace, or at once.

    Parameters
    ----------
    bars : iterator of Slice
        Bars to replay, in order.
    speed : float
        Multiple of the original pace; infinite for at once.
    pace : Pace
        How readers take the bars.
    """

    def __init__(self, bars: Iterator[Slice], speed: float, pace: Pace) -> None:
        self.pace = pace
        self._bars, self._speed = bars, speed
        self._began: tuple[float, datetime] | None = None
        self._next: Slice | None = None

    def next(self) -> Slice | None:
        """Return the next bar when it is due."""
        if self._next is None:
            self._next = next(self._bars, None)
        if self._next is None:
            raise WorkDoneError("the replay has ended")
        self._began = self._began or (monotonic(), self._next.timestamp)
        # Waits are measured from the first bar, so that the time of processing does not add up.
        due = self._began[0] + (self._next.timestamp - self._began[1]).total_seconds() / self._speed
        left = due - monotonic()
        if left > 0:
            sleep(min(left, MAX_WAIT_SECONDS))
            if left > MAX_WAIT_SECONDS:
                return None
        bars, self._next = self._next, None
        return bars


class LiveFeed:
    """Bars as they close: first those that closed while nobody streamed, then those of the feed.

    Parameters
    ----------
    missed : iterator of Slice
        Bars since the last stored one, from the history of the source.
    slices : iterator of Slice
        Bars of the feed, read in a thread of their own.
    """

    pace = Pace.LIVE

    def __init__(self, missed: Iterator[Slice], slices: Iterator[Slice]) -> None:
        self._missed, self._slices = missed, slices
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._arriving: Future[Slice | None] | None = None

    def next(self) -> Slice | None:
        """Return the next bar once it has closed; raises the feed's error."""
        missed = next(self._missed, None)
        if missed is not None:
            return missed
        self._arriving = self._arriving or self._reader.submit(next, self._slices, None)
        done, _ = wait({self._arriving}, timeout=MAX_WAIT_SECONDS)
        if not done:
            return None
        arrived, self._arriving = self._arriving.result(), None
        if arrived is None:
            raise WorkDoneError("the feed has ended")
        return arrived


class StreamerDaemon:
    """Streamer of one source as a process.

    Parameters
    ----------
    source : str
        Identity of the source.
    journal : Journal
        Journal with the head of the source and the progress of the parts.
    role : RoleLease
        The role `streamer/SOURCE`.
    streamer : BarStreamer
        Stores each bar and publishes its features.
    feed : BarFeed
        Source of the bars.
    followers : tuple of str
        Parts that a replay in lockstep waits for.
    tell : callable
        Called with a line about what is waited for.
    """

    def __init__(
        self,
        source: str,
        journal: Journal,
        role: RoleLease,
        streamer: BarStreamer,
        feed: BarFeed,
        *,
        followers: tuple[str, ...] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._source, self._journal, self._role = source, journal, role
        self._streamer, self._feed, self._tell = streamer, feed, tell
        self._followers = followers if feed.pace is Pace.LOCKSTEP else ()
        self._waits_since, self._waited_for = monotonic(), ""
        self._pending: Slice | None = None
        self._head = journal.heads.read(source)
        self._take_up()

    @property
    def head(self) -> SourceHead | None:
        """Head of the source, as this streamer last moved it."""
        return self._head

    def turn(self) -> bool:
        """Stream the next bar if it is due; raises `WorkDoneError` after the last one is done."""
        if self._late_followers():
            return False
        if self._pending is None:
            self._pending = self._feed.next()
        if self._pending is None:
            # The wait was in the feed.
            return True
        # Kept until it is published, so that a store that is away loses no bar.
        self._streamer.on_bar(self._pending)
        self._advance(self._pending.timestamp)
        self._pending = None
        return True

    def parts(self) -> list[PartHealth]:
        """Return what a replay waits for."""
        reason = f"waits for {self._waited_for}" if self._waited_for else ""
        return [PartHealth("feed", PartState.DEGRADED if reason else PartState.OK, reason)]

    def _take_up(self) -> None:
        """Move the head to the last stored bar, which a streamer that was killed may not have done."""
        last, head = self._streamer.duty.last, self._head
        if last is not None and (head is None or head.snapshot != self._streamer.snapshot):
            self._advance(last)

    def _advance(self, bar: datetime) -> None:
        before = self._head
        number = before.number + 1 if before else 0
        head = SourceHead(self._source, number, bar, self._streamer.snapshot, self._feed.pace)
        self._journal.heads.advance(before, head, self._role)
        self._head = head

    def _late_followers(self) -> bool:
        """Tell whether a part is not done with the head's bar; says so once it takes long."""
        head = self._head
        if head is None or head.number == 0 or not self._followers:
            return False
        progress = {part: self._journal.progress.of(part) for part in self._followers}
        late = [part for part, done in progress.items() if done is None or done < head.bar]
        waited_for = ", ".join(late)
        if waited_for != self._waited_for:
            self._waited_for, self._waits_since = waited_for, monotonic()
        elif late and monotonic() - self._waits_since > PATIENCE_SECONDS:
            self._tell(f"the bar of {head.bar.isoformat()} waits for {waited_for}")
            self._waits_since = monotonic()
        return bool(late)
