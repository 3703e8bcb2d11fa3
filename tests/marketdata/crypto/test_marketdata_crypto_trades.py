"""Live trades and books from Binance and Kraken, and bars that are built from trades."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alphaloop.bars import Bar
from alphaloop.clock import ReplayClock
from marketdata.connectors.trades import Trade

from .crypto_live import MINUTE, NOON, bar, opened, ready, source, watch


def test_trades_come_each_once(venue: Any) -> None:
    """Trades of two symbols with price, size, side and time; told again after a drop, they come once."""
    symbols = tuple(venue.symbols[:2])
    one = source(venue)

    def trade(symbol: str, number: int) -> None:
        moment = opened(0) + number * 250
        if venue.provider == "ccxt:binance":
            venue.send(venue.trade(symbol.partition("/")[0], number, moment, 100.0 + number, number % 2 == 0))
        else:
            side = "sell" if number % 2 == 0 else "buy"
            venue.send(venue.trade(symbol, number, moment, 100.0 + number, side))

    def script() -> None:
        ready(venue, 2)
        for number in range(1, 40):
            for symbol in symbols:
                trade(symbol, number)
        venue.drop()
        ready(venue, 2, connection=2)
        for number in range(30, 60):
            for symbol in symbols:
                trade(symbol, number)

    found = watch(one.watch_trades(symbols), script, lambda trades: len(trades) == 2 * 59)
    for symbol in symbols:
        mine = [one for one in found if one.symbol == symbol]
        assert [one.price for one in mine] == [100.0 + number for number in range(1, 60)]
        first = mine[0]
        assert first == Trade(
            symbol, NOON + timedelta(milliseconds=250), 101.0, 2.5, "buy", "1", provider=venue.provider
        )
        assert mine[1].side == "sell"


def test_bars_are_built_from_trades_where_none_are_told(binance: Any, clock: ReplayClock) -> None:
    """The first minute, heard from its middle on, comes from history; the next are built from trades."""
    configuration = binance.configuration() | {"has": {"watchOHLCV": False, "watchOHLCVForSymbols": False}}
    one = source(binance, configuration=configuration)
    one._has = lambda ability: False  # type: ignore[method-assign]

    def script() -> None:
        ready(binance, 1)
        for number, (second, price) in enumerate(
            [(20, 9.0), (61, 10.0), (80, 12.0), (119, 11.0), (121, 5.0)]
        ):
            clock.advance(NOON + timedelta(seconds=second))
            binance.send(binance.trade("C00", number, opened(0) + second * 1000, price, True))

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 2)
    built = Bar("C00/USDT", NOON + 2 * MINUTE, 11.0, 10.0, 12.0, 10.0, 7.5, provider="ccxt:binance")
    assert found == [bar(binance, "C00/USDT", 0), built]


def test_binance_books_start_from_a_snapshot(binance: Any) -> None:
    """The best five levels from the snapshot, and again whenever an update changes them."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        binance.wait(lambda: any("depth" in each["path"] for each in binance.requests))
        for number in range(1, 200):
            sizes = [["99.00", f"{number}.0"]]
            binance.send(binance.update("C00", 1000 + number, 1000 + number, sizes, []))

    found = watch(one.watch_book(("C00/USDT",)), script, lambda books: books[-1].bids[0][1] == 199.0)
    last = found[-1]
    assert last.bids == ((99.0, 199.0), (98.0, 2.0), (97.0, 2.0), (96.0, 2.0), (95.0, 2.0))
    assert last.asks == tuple((float(price), 3.0) for price in range(101, 106))
    assert (last.provider, last.timestamp) == ("ccxt:binance", NOON)


def test_kraken_books_outlive_a_drop(kraken: Any) -> None:
    """After a drop the new snapshot counts; a crossed book is refused and left out."""
    one = source(kraken)
    bids = {99.0 - level: 2.0 for level in range(10)}
    asks = {101.0 + level: 3.0 for level in range(10)}

    def script() -> None:
        ready(kraken, 1)
        kraken.send(kraken.book("C00/USD", "snapshot", bids, asks))
        kraken.send(kraken.book("C00/USD", "update", {105.0: 1.0}, {}))
        kraken.drop()
        ready(kraken, 1, connection=2)
        kraken.send(kraken.book("C00/USD", "snapshot", bids, asks))
        kraken.send(kraken.book("C00/USD", "update", {99.0: 0.0, 99.5: 7.0}, {}))

    found = watch(one.watch_book(("C00/USD",)), script, lambda books: books[-1].bids[0] == (99.5, 7.0))
    assert found[-1].bids[:2] == ((99.5, 7.0), (98.0, 2.0))
    assert len(found[-1].bids) == len(found[-1].asks) == 5
    assert all(book.bids[0][0] < book.asks[0][0] for book in found)
    assert one.counts["dropped"] == 1
