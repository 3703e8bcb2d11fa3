"""The assembler: bars as they come, out as slices in order, with nobody left waiting in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import Bar, Slice
from alphaloop.clock import ReplayClock, sleep
from alphaloop.errors import InputError, VendorError
from marketdata.feeds.assembler import LiveSlices, SliceAssembler

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SYMBOLS = ("X", "Y", "Z")


def _bar(number: int, symbol: str, provider: str = "p", disputed: bool = False) -> Bar:
    price = 100.0 + number
    return Bar(symbol, START + number * MINUTE, price, provider=provider, disputed=disputed, volume=5.0)


class Told:
    """A source whose stream is written down: bars, seconds to wait, errors to raise."""

    name, description, calendar, adjusted_only = "told", "", "24/7", False

    def __init__(self, steps: Sequence[object], clock: ReplayClock | None = None) -> None:
        self.steps, self.clock, self.closed = steps, clock, 0

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        try:
            for step in self.steps:
                if isinstance(step, Bar):
                    if self.clock is not None and step.timestamp > self.clock.now():
                        self.clock.advance(step.timestamp)
                    yield step
                elif isinstance(step, Exception):
                    raise step
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed += 1


def _assembler(steps: Sequence[object], **given: object) -> SliceAssembler:
    clock = ReplayClock(START)
    return SliceAssembler(
        Told(steps, clock), SYMBOLS, **{"clock": clock, "grace": timedelta(seconds=5)} | given
    )


def _slices(assembler: SliceAssembler) -> list[Slice]:
    with LiveSlices(assembler) as live:
        return list(live)


def test_a_slice_goes_out_when_every_symbol_has_told() -> None:
    """Bars in any order within a timestamp make one slice, its symbols in the order asked for."""
    bars = [_bar(number, symbol) for number in range(4) for symbol in ("Z", "X", "Y")]
    slices = _slices(_assembler(bars))
    assert [one.timestamp for one in slices] == [START + number * MINUTE for number in range(4)]
    assert all(one.symbols == SYMBOLS for one in slices)
    assert slices[2].close.tolist() == [102.0] * 3
    assert slices[2].volume.tolist() == [5.0] * 3
    assert np.isnan(slices[2].open).all()


def test_a_slice_tells_providers_and_disputes() -> None:
    """Each bar's provider and mark are in the slice; bars that name no provider leave it empty."""
    bars = [_bar(0, "X", "a"), _bar(0, "Y", "b", disputed=True), _bar(0, "Z", "a")]
    (one,) = _slices(_assembler(bars))
    assert (one.providers, one.disputed) == (("a", "b", "a"), ("Y",))
    (plain,) = _slices(_assembler([_bar(0, symbol, "") for symbol in SYMBOLS]))
    assert (plain.providers, plain.disputed) == ((), ())


def test_a_symbol_that_is_late_is_absent_and_the_others_do_not_wait() -> None:
    """After the grace the slice goes out with NaN; the late bar is counted, and given to no later slice."""
    bars = [_bar(0, "X"), _bar(0, "Y"), _bar(1, "X"), _bar(0, "Z"), _bar(1, "Y"), _bar(1, "Z")]
    assembler = _assembler(bars)
    first, second = _slices(assembler)
    assert np.isnan(first.close[2])
    assert first.providers == ("p", "p", "")
    assert second.close.tolist() == [101.0] * 3
    assert (assembler.counts["late"], assembler.counts["absent"]) == (1, 1)


def test_the_grace_is_by_the_clock_when_nothing_more_comes() -> None:
    """On a live clock a silent feed does not hold back the slice that is open."""
    assembler = SliceAssembler(
        Told([_bar(0, "X"), _bar(0, "Y"), 30.0]), SYMBOLS, grace=timedelta(milliseconds=50)
    )
    with LiveSlices(assembler) as live:
        assert np.isnan(next(live).close[2])


def test_closing_while_a_bar_is_awaited_leaves_no_thread_and_no_stream() -> None:
    """Left in the middle, by whichever way, the loop's thread ends and the stream is closed."""
    before = set(threading.enumerate())
    source = Told([*(_bar(0, symbol) for symbol in SYMBOLS), 60.0])
    with LiveSlices(SliceAssembler(source, SYMBOLS)) as live:
        next(live)
        waiter = threading.Thread(target=lambda: list(live))
        waiter.start()
        sleep(0.05)
    waiter.join(10)
    assert not waiter.is_alive()
    assert set(threading.enumerate()) <= before
    assert source.closed == 1
    assert list(live) == []
    live.close()


def test_what_the_stream_raises_comes_out_and_ends_the_thread() -> None:
    """An error of the source is raised in the loop that reads the slices."""
    before = set(threading.enumerate())
    source = Told([*(_bar(0, symbol) for symbol in SYMBOLS), VendorError("no such key")])
    live = LiveSlices(SliceAssembler(source, SYMBOLS))
    next(live)
    with pytest.raises(VendorError, match="no such key"):
        next(live)
    assert set(threading.enumerate()) <= before
    assert source.closed == 1


def test_nothing_is_read_ahead_of_what_is_asked_for() -> None:
    """A replayed clock stands at the slice that is worked on, not beyond it."""
    clock = ReplayClock(START - MINUTE)
    source = Told([_bar(number, symbol) for number in range(5) for symbol in SYMBOLS], clock)
    with LiveSlices(SliceAssembler(source, SYMBOLS, clock=clock)) as live:
        for one in live:
            assert clock.now() == one.timestamp


@pytest.mark.parametrize("symbols", [(), ("X", "X")])
def test_symbols_that_make_no_slice_are_refused(symbols) -> None:
    """None, or one twice."""
    with pytest.raises(InputError, match="different symbols"):
        SliceAssembler(Told([]), symbols)


@given(st.data())
def test_every_bar_is_in_one_slice_or_counted_late(data) -> None:
    """Each symbol's bars in order, the symbols interleaved at will: slices are in order, nothing is doubled,
    and what is in none came late.
    """
    queues = {
        symbol: [_bar(number, symbol) for number in sorted(data.draw(st.sets(st.integers(0, 6))))]
        for symbol in SYMBOLS
    }
    steps = []
    while any(queues.values()):
        symbol = data.draw(st.sampled_from([one for one in SYMBOLS if queues[one]]))
        steps.append(queues[symbol].pop(0))
    assembler = _assembler(steps)

    async def read() -> list[Slice]:
        return [one async for one in assembler.slices()]

    slices = asyncio.run(read())
    times = [one.timestamp for one in slices]
    assert times == sorted(set(times))
    seen = [
        (symbol, one.timestamp)
        for one in slices
        for symbol, close in zip(one.symbols, one.close.tolist(), strict=True)
        if np.isfinite(close)
    ]
    assert len(seen) == len(set(seen)) == len(steps) - assembler.counts["late"]
    assert set(seen) <= {(bar.symbol, bar.timestamp) for bar in steps}
