"""The order book beside the bars: what was known of it when a bar closed, and which books are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alphaloop.bars import Bar, BarPanel
from marketdata.connectors.order_book import BOOK_COLUMNS, OrderBook, OrderBooks

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def book(second: float, bid: float, symbol: str = "C00/USDT", levels: int = 5) -> OrderBook:
    bids = tuple((bid - level, 2.0 + level) for level in range(levels))
    asks = tuple((bid + 2 + level, 3.0 + level) for level in range(levels))
    return OrderBook(symbol, NOON + timedelta(seconds=second), bids, asks)


def test_bars_get_the_last_book_before_their_close() -> None:
    """Twenty columns from the book that stood at the close: never a later one, never a stale one."""
    bars = [
        Bar(symbol, NOON + MINUTE, 100.0, 100.0, 101.0, 99.0, 5.0)
        for symbol in ("C00/USDT", "C01/USDT", "C02/USDT", "C03/USDT")
    ]
    from marketdata.sources.ccxt.history import to_table

    books = OrderBooks()
    for one in (
        book(30, 90.0),
        book(59.9, 95.0),
        book(60.1, 500.0),
        book(61, 99.0, "C01/USDT"),
        book(-10, 7.0, "C02/USDT"),
        book(60, 42.0, "C03/USDT", levels=2),
    ):
        books.add(one)
    extra = books.attach(BarPanel.from_table(to_table(bars)).at(0)).extra
    assert tuple(extra) == BOOK_COLUMNS
    assert len(BOOK_COLUMNS) == 20
    assert extra["bid_price_1"].tolist()[0] == 95.0
    assert extra["ask_price_5"].tolist()[0] == 101.0
    assert extra["bid_size_3"].tolist()[0] == 4.0
    assert all(str(values[1]) == str(values[2]) == "nan" for values in extra.values())
    assert [extra[f"bid_price_{level}"][3] for level in (1, 2)] == [42.0, 41.0]
    assert str(extra["bid_price_3"][3]) == "nan"


def test_old_books_are_forgotten() -> None:
    """Only the last minutes are kept, and a book that comes late changes nothing."""
    books = OrderBooks(keep=timedelta(seconds=10))
    for second in range(100):
        books.add(book(second, 10.0 + second))
    books.add(book(50, 7.0))
    assert len(books._books["C00/USDT"]) == 11
    found = books.at("C00/USDT", NOON + timedelta(seconds=99))
    assert found is not None
    assert found.bids[0][0] == 109.0


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        pytest.param(((101.0, 1.0),), ((100.0, 1.0),), id="crossed"),
        pytest.param(((99.0, 1.0), (99.5, 1.0)), (), id="out of order"),
        pytest.param(((99.0, 1.0), (99.0, 1.0)), (), id="one price twice"),
        pytest.param(((99.0, -1.0),), (), id="a negative size"),
        pytest.param((), ((float("nan"), 1.0),), id="no price"),
    ],
)
def test_impossible_books_are_refused(bids: Any, asks: Any) -> None:
    """A book that no market shows is an error that names the symbol."""
    with pytest.raises(ValueError, match="C00/USDT"):
        OrderBook("C00/USDT", NOON, bids, asks)
