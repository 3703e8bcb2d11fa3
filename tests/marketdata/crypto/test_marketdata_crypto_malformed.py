"""Messages of Binance and Kraken that make no sense cost no live bar."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from alphaloop.clock import ReplayClock

from . import crypto_venues
from .crypto_live import MINUTE, NOON, bar, ready, source, tell, watch

MALFORMED = {
    "ccxt:binance": {
        "no JSON": '{"e": "kline", "E": 17',
        "not text of any kind": "\x00\x01\x02{",
        "a list of nothing": "[]",
        "a list of numbers": "[1, 2, 3]",
        "a candle that is a word": '{"e":"kline","s":"C00USDT","k":"soon"}',
        "a candle without a time": '{"e":"kline","s":"C00USDT","k":{"s":"C00USDT","i":"1m","c":"1"}}',
        "a candle of the year 2100": (
            '{"e":"kline","s":"C00USDT","k":{"t":4102444800000,"s":"C00USDT","i":"1m",'
            '"o":"1","h":"1","l":"1","c":"1","v":"1","x":true}}'
        ),
        "a price that is no number": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"1m",'
            '"o":"1","h":"1","l":"1","c":"cheap","v":"1"}}'
        ),
        "a negative price": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"1m",'
            '"o":"-1","h":"1","l":"-1","c":"-1","v":"1"}}'
        ),
        "an interval that nobody asked for": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"7m","o":"1"}}'
        ),
    },
    "ccxt:kraken": {
        "no JSON": '{"channel": "ohlc", "ty',
        "not text of any kind": "\x00\x01\x02{",
        "a list of nothing": "[]",
        "no data": '{"channel":"ohlc","type":"update","data":[]}',
        "data that is a word": '{"channel":"ohlc","type":"update","data":"soon"}',
        "a candle that is a number": '{"channel":"ohlc","type":"update","data":[7]}',
        "a candle without a symbol": '{"channel":"ohlc","type":"update","data":[{"interval":1,"close":1}]}',
        "a candle without a time": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"close":1}]}'
        ),
        "a price that is no number": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"open":1,"high":1,'
            '"low":1,"close":"cheap","volume":1,"interval_begin":"2024-03-01T12:00:00.000000Z"}]}'
        ),
        "a negative price": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"open":-1,"high":1,'
            '"low":-1,"close":-1,"volume":1,"interval_begin":"2024-03-01T12:00:00.000000Z"}]}'
        ),
    },
}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        pytest.param(provider.removeprefix("ccxt:").title(), kind, message, id=f"{provider}: {kind}")
        for provider, kinds in MALFORMED.items()
        for kind, message in kinds.items()
    ],
)
def test_malformed_messages_are_skipped(name: str, kind: str, message: str, clock: ReplayClock) -> None:
    """Between good messages each of ten bad ones costs nothing: the bars are all there, and all true."""
    with getattr(crypto_venues, name)(clock) as server:
        symbol = server.symbols[0]

        def script() -> None:
            ready(server, 1)
            tell(server, symbol, 0)
            server.send(message)
            clock.advance(NOON + MINUTE)
            tell(server, symbol, 1)
            clock.advance(NOON + 2 * MINUTE)
            tell(server, symbol, 2)

        one = source(server)
        found = watch(one.stream((symbol,)), script, lambda bars: len(bars) == 2)
        assert found == [bar(server, symbol, 0), bar(server, symbol, 1)]
        assert server.connections == 1


def test_malformed_messages_are_counted_and_logged_once(
    binance: Any, clock: ReplayClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred bad messages of one kind are a hundred in the count and one line in the log."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        for _ in range(100):
            binance.send('{"e": "kline", "E": 17')
        tell(binance, "C00/USDT", 0)
        clock.advance(NOON + MINUTE)
        tell(binance, "C00/USDT", 1)

    with caplog.at_level(logging.WARNING):
        watch(one.stream(("C00/USDT",)), script, len)
    assert one.counts["refused"] == 100
    assert len([record for record in caplog.records if "skipped a message" in record.message]) == 1
