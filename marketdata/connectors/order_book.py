"""Order books, and the last book before a bar's close as further columns of that bar."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from alphaloop.bars import Slice
from alphaloop.clock import as_utc

LEVELS = 5
# bid_price_1 … bid_price_5, bid_size_1 …, ask_price_1 …, ask_size_1 …; level 1 is the best.
BOOK_COLUMNS = tuple(
    f"{side}_{what}_{level}"
    for side in ("bid", "ask")
    for what in ("price", "size")
    for level in range(1, LEVELS + 1)
)

Level = tuple[float, float]


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The best levels of a book, (price, size), best first, at most `LEVELS` a side.

    The constructor refuses an impossible book with `ValueError`: crossed, out of order, or not positive.
    """

    symbol: str
    timestamp: datetime
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    provider: str = ""

    def __post_init__(self) -> None:
        as_utc(self.timestamp)
        for side, levels in (("bid", self.bids), ("ask", self.asks)):
            prices = [price for price, _ in levels]
            if not all(np.isfinite(value) and value > 0 for level in levels for value in level):
                raise ValueError(f"book of {self.symbol} at {self.timestamp}: {side}s are {levels}")
            if prices != sorted(set(prices), reverse=side == "bid"):
                raise ValueError(f"book of {self.symbol} at {self.timestamp}: {side}s are out of order")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise ValueError(
                f"book of {self.symbol} at {self.timestamp} is crossed: "
                f"bid {self.bids[0][0]} against ask {self.asks[0][0]}"
            )

    def columns(self) -> dict[str, float]:
        """Return the values of `BOOK_COLUMNS`; NaN for a missing level."""
        values = dict.fromkeys(BOOK_COLUMNS, float("nan"))
        for side, levels in (("bid", self.bids), ("ask", self.asks)):
            for level, (price, size) in enumerate(levels[:LEVELS], start=1):
                values[f"{side}_price_{level}"] = price
                values[f"{side}_size_{level}"] = size
        return values


class OrderBooks:
    """The recent books of each symbol; each bar is given the last book at its close.

    Books of the last `keep` are held; ask for a bar's book within that time after its close. A book older
    than `stale` at the bar's close is ignored.
    """

    def __init__(
        self, keep: timedelta = timedelta(minutes=2), stale: timedelta = timedelta(minutes=1)
    ) -> None:
        self._keep, self._stale = keep, stale
        self._books: dict[str, deque[OrderBook]] = {}

    def add(self, book: OrderBook) -> None:
        """Store a book; one older than the symbol's last is dropped."""
        books = self._books.setdefault(book.symbol, deque())
        if books and book.timestamp < books[-1].timestamp:
            return
        books.append(book)
        while books[0].timestamp < book.timestamp - self._keep:
            books.popleft()

    def at(self, symbol: str, close: datetime) -> OrderBook | None:
        """Return the last book of `symbol` not after `close`; None if missing or stale."""
        for book in reversed(self._books.get(symbol, ())):
            if book.timestamp <= close:
                return book if book.timestamp >= close - self._stale else None
        return None

    def attach(self, bars: Slice) -> Slice:
        """Return `bars` with `BOOK_COLUMNS` in `extra`; NaN for a symbol without a book."""
        absent = dict.fromkeys(BOOK_COLUMNS, float("nan"))
        books = [self.at(symbol, bars.timestamp) for symbol in bars.symbols]
        rows = [absent if book is None else book.columns() for book in books]
        extra = {name: np.array([row[name] for row in rows]) for name in BOOK_COLUMNS}
        return replace(bars, extra={**bars.extra, **extra})
