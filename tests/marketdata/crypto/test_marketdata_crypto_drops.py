"""Where the line to Binance or Kraken breaks or falls silent, no live bar is lost or repeated."""

from __future__ import annotations

from typing import Any

from alphaloop.clock import ReplayClock

from .crypto_live import MINUTE, NOON, bar, bars_of, ready, source, tell, watch


def test_a_dropped_socket_loses_nothing_and_repeats_nothing(venue: Any, clock: ReplayClock) -> None:
    """Cut in the middle of a minute and back five minutes later: subscribed again, the gap filled first."""
    symbols = tuple(venue.symbols[:3])
    one = source(venue)

    def script() -> None:
        ready(venue, 3)
        for symbol in symbols:
            tell(venue, symbol, 0)
            tell(venue, symbol, 1, final=False)
        venue.settle()
        clock.advance(NOON + 1.5 * MINUTE)
        venue.drop()
        clock.advance(NOON + 6.5 * MINUTE)
        ready(venue, 3, connection=2)
        for minute in (6, 7):
            for symbol in symbols:
                tell(venue, symbol, minute)

    found = watch(one.stream(symbols), script, lambda bars: len(bars) == 21)
    for symbol in symbols:
        assert bars_of(found, symbol) == [bar(venue, symbol, minute) for minute in range(7)]
    assert (venue.connections, one.counts["dropped"], one.counts["gap"]) == (2, 1, 3)


def test_it_drops_again_and_again(binance: Any, clock: ReplayClock) -> None:
    """Five cuts in a row, each in the middle of a minute, cost no bar."""
    one = source(binance)

    def script() -> None:
        for cut in range(5):
            ready(binance, 1, connection=cut + 1)
            tell(binance, "C00/USDT", 2 * cut, final=False)
            binance.settle()
            clock.advance(NOON + (2 * cut + 2) * MINUTE)
            binance.drop()
        ready(binance, 1, connection=6)
        tell(binance, "C00/USDT", 10)
        clock.advance(NOON + 11 * MINUTE)
        tell(binance, "C00/USDT", 11)

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 11)
    assert found == [bar(binance, "C00/USDT", minute) for minute in range(11)]


def test_a_gap_waits_until_history_is_back(binance: Any, clock: ReplayClock) -> None:
    """With REST down after a drop nothing is skipped: the gap is filled once REST answers again."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        tell(binance, "C00/USDT", 0)
        binance.settle()
        clock.advance(NOON + MINUTE)
        binance.drop()
        binance.always = (503, {}, "down")
        clock.advance(NOON + 4.5 * MINUTE)
        ready(binance, 1, connection=2)
        asked = len(binance.requests)
        tell(binance, "C00/USDT", 4, final=False)
        binance.wait(lambda: len(binance.requests) > asked)
        binance.always = None
        tell(binance, "C00/USDT", 4)
        clock.advance(NOON + 5 * MINUTE)
        tell(binance, "C00/USDT", 5)

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 5)
    assert found == [bar(binance, "C00/USDT", minute) for minute in range(5)]


def test_a_socket_that_says_nothing_is_opened_again(kraken: Any) -> None:
    """A frozen connection is noticed and replaced, although nobody closed it."""
    one = source(kraken, stall=0.2)

    def script() -> None:
        ready(kraken, 1, connection=2)
        tell(kraken, "C00/USD", 0)
        kraken.settle()
        kraken.clock.advance(NOON + 1.5 * MINUTE)
        ready(kraken, 1, connection=3)

    assert watch(one.stream(("C00/USD",)), script, len) == [bar(kraken, "C00/USD", 0)]
