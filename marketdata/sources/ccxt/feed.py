"""The websocket of an exchange: reconnected for ever, and robust to any message.

ccxt's own receiving loop ends silently when a message cannot be parsed, its futures show only the first of
several messages that arrive together, and its reading freezes after bursts. So each message is handled
under guard, one by one, and its changes are read from ccxt's caches afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from alphaloop.clock import monotonic
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.sources.ccxt.exchange import MALFORMED_ERRORS, ExchangeConnection, ccxt_module

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A new connection; data read from an earlier one does not apply to it."""

    connection: ExchangeConnection


@dataclass(frozen=True, slots=True)
class DataReceived:
    """New data of a symbol, in ccxt's form."""

    symbol: str
    payload: Any


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A message that ccxt could not parse."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectionDropped:
    """The connection is gone; another will be opened."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A periodic event of the feed.

    `at`: time when all earlier events had been processed; `last_message`: time of the last message.
    """

    at: datetime
    last_message: datetime


FeedEvent = ConnectionOpened | DataReceived | MessageRefused | ConnectionDropped | Heartbeat


class Subscription(Protocol):
    """The data to subscribe to: bars, trades or books."""

    def watches(self, api: Any, symbols: Sequence[str]) -> list[Callable[[], Awaitable[Any]]]:
        """Return the calls that subscribe, each to be repeated for ever; few, to keep connections few."""
        ...

    def read(self, api: Any, symbol: str) -> list[Any]:
        """Return the news of `symbol` in the caches of `api` since the last call."""
        ...


@dataclass(frozen=True)
class WebsocketFeed:
    """Subscribes to `subject` for `symbols`.

    Reconnects with the backoff of `retry`, also when no message arrived for `stall` seconds. `tick` is the
    interval of `Heartbeat` events in seconds.
    """

    connect: Callable[[], ExchangeConnection]
    subject: Callable[[], Subscription]
    symbols: Sequence[str]
    retry: RetryPolicy
    stall: float
    tick: float

    async def events(self) -> AsyncGenerator[FeedEvent, None]:
        """Yield events for ever.

        Raises `VendorError` or `DataError` where another attempt cannot help.
        """
        failures = 0
        while True:
            dropped: BaseException | None = None
            async with self.connect() as connection:
                listening = _Listening(connection, self.subject(), self.symbols)
                try:
                    await connection.markets()
                    listening.start()
                    yield ConnectionOpened(connection)
                    while True:
                        event = await listening.next(self.tick, self.stall)
                        failures = 0 if isinstance(event, DataReceived) else failures
                        yield event
                except (ccxt_module().BaseError, GaveUpError, OSError, *MALFORMED_ERRORS) as error:
                    if not is_recoverable(error):
                        connection.fail("its live data", error)
                    dropped = connection.clean(error)
                finally:
                    await listening.stop()
            failures += 1
            log.warning("%s: connection dropped: %s", connection.provider, dropped)
            yield ConnectionDropped(dropped)
            await self.retry.pause(failures, dropped)


def is_recoverable(error: BaseException) -> bool:
    """Return True if another connection may succeed: not for credentials, unknown names, wrong requests."""
    ccxt = ccxt_module()
    if isinstance(error, ccxt.BaseError):
        # A plain ExchangeError is any message of the exchange that ccxt does not classify.
        return isinstance(error, ccxt.OperationFailed) or type(error) is ccxt.ExchangeError
    return True


class _Listening:
    """One connection's tasks and the queue that they fill."""

    def __init__(self, connection: ExchangeConnection, subject: Subscription, symbols: Sequence[str]) -> None:
        self._api, self._subject, self._symbols = connection.api, subject, symbols
        self._queue: asyncio.Queue[DataReceived | MessageRefused | Heartbeat | BaseException] = (
            asyncio.Queue()
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = connection.clock
        self._last_message = self._ticked = monotonic()
        self._last_message_time = self._clock.now()
        self._reading = False

    def start(self) -> None:
        self._guard()
        for watch in self._subject.watches(self._api, self._symbols):
            self._tasks.append(asyncio.create_task(self._subscribe(watch)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        # Their failures went through the queue; here they are only waited for.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def next(self, tick: float, stall: float) -> DataReceived | MessageRefused | Heartbeat:
        """Return the next event, a `Heartbeat` every `tick` seconds or sooner; raise a feed's error."""
        while True:
            left = self._ticked + tick - monotonic()
            if left <= 0:
                self._ticked = monotonic()
                if self._ticked - self._last_message > stall:
                    raise ConnectionError(f"nothing was heard for {stall:g} s")
                # Queued behind pending events, so that a slow consumer does not take them for silence.
                self._queue.put_nowait(Heartbeat(self._clock.now(), self._last_message_time))
                continue
            try:
                # Not `wait_for`: before Python 3.12 it swallows a cancellation that meets an event.
                async with asyncio.timeout(left):
                    event = await self._queue.get()
            except TimeoutError:
                continue
            if isinstance(event, BaseException):
                raise event
            return event

    async def _subscribe(self, watch: Callable[[], Awaitable[Any]]) -> None:
        """Subscribe repeatedly: ccxt reports errors through the next call."""
        ccxt = ccxt_module()
        try:
            while True:
                try:
                    await watch()
                except ccxt.ChecksumError as error:
                    # The book missed an update: the next call subscribes to it anew.
                    self._queue.put_nowait(MessageRefused("an update out of sequence", str(error)))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # ccxt cancels its futures when it closes a socket.
            self._queue.put_nowait(ConnectionError("the connection was closed"))
        except (ccxt.BaseError, OSError, *MALFORMED_ERRORS) as error:
            self._queue.put_nowait(error)

    def _guard(self) -> None:
        """Guard the message handler of every socket as ccxt opens it."""
        original, guarded = self._api.client, set()

        def client(url: str) -> Any:
            socket = original(url)
            if id(socket) not in guarded:
                guarded.add(id(socket))
                socket.handle_text_or_binary_message = self._guarded(socket.handle_text_or_binary_message)
                socket.future = _observed(socket.future)
                socket.__class__ = _one_by_one(type(socket))
            return socket

        self._api.client = client

    def _guarded(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(data: Any) -> None:
            self._last_message, self._last_message_time = monotonic(), self._clock.now()
            try:
                handle(data)
            except (ccxt_module().BaseError, *MALFORMED_ERRORS) as error:
                self._queue.put_nowait(MessageRefused(type(error).__name__, f"{error}: {str(data)[:120]}"))
            if not self._reading:
                self._reading = True
                asyncio.get_running_loop().call_soon(self._read)

        return guarded

    def _read(self) -> None:
        self._reading = False
        for symbol in self._symbols:
            try:
                payloads = self._subject.read(self._api, symbol)
            except MALFORMED_ERRORS as error:
                self._queue.put_nowait(MessageRefused("a cache that makes no sense", f"{symbol}: {error}"))
                continue
            for payload in payloads:
                self._queue.put_nowait(DataReceived(symbol, payload))


def _one_by_one(socket: type) -> type:
    """Return the socket's class without its shortcut into aiohttp's buffer.

    ccxt takes messages out of aiohttp's buffer directly and does not return the overhead that aiohttp 3.14
    counts for each, so after some thousands of messages in bursts it is never read from again.
    """
    return type(socket.__name__, (socket,), {"buffer": None})


def _observed(future_of: Callable[[str], asyncio.Future[Any]]) -> Callable[[str], asyncio.Future[Any]]:
    """Wrap futures so that failures are retrieved: ccxt fails all of a socket's, and we await one.

    asyncio would report each of the others as an exception that was never retrieved.
    """

    def observed(message_hash: str) -> asyncio.Future[Any]:
        future = future_of(message_hash)
        if not hasattr(future, "observed"):
            future.observed = True  # type: ignore[attr-defined]
            future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return future

    return observed
