"""One connection to Alpaca's websocket: login, subscription, minutes, and classified failures.

A failure that another connection may mend is `VenueUnavailableError`; any other is `VendorError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from alphaloop.errors import VendorError
from marketdata.connectors.closed_bars import BarUpdate
from marketdata.connectors.rate_limit import VenueUnavailableError
from marketdata.sources.alpaca_messages import parse_bar_update, refusal_code, unpack_frame

# Errors that no new connection mends: symbols, credentials, a subscription that is not paid for.
FATAL_CODES = {400, 401, 402, 403, 405, 408, 409, 410}
FATAL_TEXTS = ("auth failed", "not authenticated", "insufficient subscription", "failed to authenticate")
FATAL_STATUSES = (401, 403)

Answer = TypeVar("Answer")


class AlpacaSocket:
    """Drives `stream`, the SDK's `StockDataStream` with its subscriptions made.

    `refuse(kind, detail)` is called for each message that is not believed. `hidden(error)` returns an error
    without the secrets.
    """

    def __init__(
        self,
        stream: Any,
        symbols: Sequence[str],
        refuse: Callable[[str, str], None],
        hidden: Callable[[BaseException], BaseException],
        timeout: float,
    ) -> None:
        self._stream, self._symbols = stream, frozenset(symbols)
        self._refuse, self._hidden, self._timeout = refuse, hidden, timeout

    async def open(self) -> None:
        """Connect, send the credentials and subscribe, within the timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._stream._start_ws()
                await self._stream._send_subscribe_msg()
        except _connection_errors() as error:
            status, hidden = getattr(error, "status_code", None), self._hidden(error)
            if status in FATAL_STATUSES or _is_fatal(str(hidden)):
                raise _refusal(str(hidden)) from hidden
            raise VenueUnavailableError(f"no connection: {type(error).__name__}: {hidden}") from hidden

    async def updates(self) -> AsyncIterator[BarUpdate]:
        """Yield closed minutes, until the connection drops: then `VenueUnavailableError`."""
        while True:
            try:
                raw = await self._stream._ws.recv()
            except _connection_errors() as error:
                hidden = self._hidden(error)
                raise VenueUnavailableError(f"connection lost: {type(error).__name__}: {hidden}") from hidden
            for message in self._believed(unpack_frame, raw) or []:
                refused = self._believed(refusal_code, message)
                if refused is not None:
                    self._end(*refused)
                update = self._believed(self._update, message)
                if update is not None:
                    yield update

    async def close(self) -> None:
        """Close the connection, whatever its state."""
        await self._stream.close()

    def _update(self, message: Any) -> BarUpdate | None:
        if isinstance(message, dict) and message.get("T") == "error":
            return None
        return parse_bar_update(message, self._symbols)

    def _believed(self, read: Callable[[Any], Answer], message: Any) -> Answer | None:
        try:
            return read(message)
        except ValueError as error:
            self._refuse(str(error), str(self._hidden(VendorError(repr(message)))))
            return None

    def _end(self, code: int, text: str) -> None:
        shown = str(self._hidden(VendorError(f"{text} ({code})")))
        if code in FATAL_CODES or _is_fatal(text):
            raise _refusal(shown)
        raise VenueUnavailableError(f"Alpaca ends the stream: {shown}")


def _refusal(text: str) -> VendorError:
    return VendorError(
        f"source 'alpaca': the websocket refuses: {text}; check APCA_API_KEY_ID and APCA_API_SECRET_KEY, "
        "the symbols, and whether the account has the feed in APCA_DATA_FEED"
    )


def _is_fatal(text: str) -> bool:
    return any(fatal in text for fatal in FATAL_TEXTS)


def _connection_errors() -> tuple[type[Exception], ...]:
    from websockets.exceptions import WebSocketException

    # The SDK does not validate the server's greeting: hence the last three.
    return (WebSocketException, OSError, EOFError, TimeoutError, LookupError, TypeError, ValueError)
