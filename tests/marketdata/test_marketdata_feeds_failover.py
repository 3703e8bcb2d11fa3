"""The failover source: history from the first provider that answers, a stream that outlives its providers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from alphaloop.bars import Bar, BarPanel
from alphaloop.clock import ReplayClock, sleep
from alphaloop.errors import DataError, InputError, UnknownNameError, VendorError
from alphaloop.runtime.circuit_breaker import BreakerState, CircuitBreaker
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.feeds.assembler import assemble_slice
from marketdata.feeds.failover import FailoverSource
from marketdata.feeds.failover_policy import FailoverPolicy

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SYMBOLS = ("X", "Y")
NOW = ReplayClock(START + 100 * MINUTE)


def _bar(number: int, symbol: str = "X", close: float = 100.0) -> Bar:
    return Bar(symbol, START + number * MINUTE, close + 0.01 * (number % 3), provider="told")


def _table(*bars: Bar) -> pa.Table:
    slices = [assemble_slice(at, SYMBOLS, {}) for at in sorted({bar.timestamp for bar in bars})]
    for place, one in enumerate(slices):
        slices[place] = assemble_slice(
            one.timestamp, SYMBOLS, {bar.symbol: bar for bar in bars if bar.timestamp == one.timestamp}
        )
    return BarPanel.from_slices(slices).to_table().drop_columns(["provider"])


@dataclass
class Scripted:
    """A provider that does as it is told: `script` is bars, waits in seconds, and errors to raise.

    Each opening of the stream takes one script, the last again and again.
    """

    name: str
    scripts: list[list[object]] = field(default_factory=lambda: [[]])
    past: Callable[[], pa.Table] = lambda: _table(_bar(0))
    calendar: str = "24/7"
    adjusted_only: bool = False
    description: str = "scripted"
    asked: int = 0
    opened: int = 0
    closed: int = 0

    def symbols(self) -> tuple[str, ...]:
        self.asked += 1
        return SYMBOLS

    def history(self, symbols: Sequence[str], start=None, end=None, frequency: str = "1d") -> pa.Table:
        self.asked += 1
        return self.past()

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        script = self.scripts[min(self.opened, len(self.scripts) - 1)]
        self.opened += 1
        try:
            for step in script:
                if isinstance(step, Bar):
                    yield step
                elif isinstance(step, Exception):
                    raise step
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed += 1


def _policy(**given: object) -> FailoverPolicy:
    retry = RetryPolicy(on=(VendorError,), attempts=2, base=0.001, cap=0.002, deadline=1.0)
    return FailoverPolicy(**{"deadline": 0.05, "consensus": None, "retry": retry} | given)


def _source(*providers: Scripted, **given: object) -> FailoverSource:
    return FailoverSource(providers, _policy(**given), clock=NOW)


def _read(source: FailoverSource, count: int | None = None) -> list[Bar]:
    async def read() -> list[Bar]:
        bars: list[Bar] = []
        stream = source.stream(SYMBOLS, "1m")
        async with asyncio.timeout(20):
            async for bar in stream:
                bars.append(bar)
                if len(bars) == count:
                    break
            await stream.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return bars

    return asyncio.run(read())


def _fails(*errors: Exception) -> Callable[[], pa.Table]:
    """A history that raises `errors` one after the other, and then answers."""
    left = list(errors)

    def past() -> pa.Table:
        if left:
            raise left.pop(0)
        return _table(_bar(0))

    return past


def _broken() -> pa.Table:
    raise VendorError("503")


def test_history_comes_from_the_first_that_answers_and_says_who_it_was() -> None:
    """A provider that fails is tried again and then passed over; the rows name the one that answered."""
    first, second = Scripted("first", past=_broken), Scripted("second")
    source = _source(first, second)
    table = source.history(SYMBOLS)
    assert table["provider"].to_pylist() == ["second"] * table.num_rows
    assert (first.asked, second.asked) == (2, 1)
    assert BarPanel.from_table(table).providers is not None


def test_a_failure_that_passes_is_not_passed_on() -> None:
    """An error that goes away at the second attempt costs the provider nothing."""
    first, second = Scripted("first", past=_fails(VendorError("502"))), Scripted("second")
    assert set(_source(first, second).history(SYMBOLS)["provider"].to_pylist()) == {"first"}
    assert second.asked == 0


def test_a_provider_that_keeps_failing_is_left_alone_until_its_cooldown() -> None:
    """After three failures the first is not asked any more; once the cooldown is over it is tried again."""
    now = [0.0]
    breaker = CircuitBreaker(3, 60.0, 30.0, elapsed=lambda: now[0])
    first, second = Scripted("first", past=_broken), Scripted("second")
    source = FailoverSource((first, second), _policy(), clock=NOW, breakers={"first": breaker})
    for _ in range(5):
        source.history(SYMBOLS)
    assert first.asked == 3 * 2
    assert breaker.state is BreakerState.OPEN
    now[0], first.past = 31.0, lambda: _table(_bar(0))
    assert set(source.history(SYMBOLS)["provider"].to_pylist()) == {"first"}
    assert breaker.state is BreakerState.CLOSED


def test_a_provider_that_hangs_is_given_up_at_the_deadline() -> None:
    """A call that never returns holds nobody up, and its thread ends with the call."""
    gate = threading.Event()

    def hang() -> pa.Table:
        gate.wait(30)
        return _table(_bar(0))

    retry = RetryPolicy(on=(VendorError,), attempts=2, base=0.001, cap=0.002, deadline=0.05)
    source = _source(Scripted("first", past=hang), Scripted("second"), retry=retry, long_history_seconds=0.05)
    before = set(threading.enumerate())
    assert set(source.history(SYMBOLS)["provider"].to_pylist()) == {"second"}
    gate.set()
    for _ in range(200):
        if set(threading.enumerate()) <= before:
            break
        sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_a_long_history_may_take_longer_than_a_gap() -> None:
    """All of a venue's pages are waited for; what fills a gap of a stream is not."""

    def slow() -> pa.Table:
        sleep(0.15)
        return _table(_bar(0))

    retry = RetryPolicy(on=(VendorError,), attempts=2, base=0.001, cap=0.002, deadline=0.03)
    source = _source(Scripted("first", past=slow), Scripted("second"), retry=retry, long_history_seconds=5.0)
    now = NOW.now()
    for start, given in (
        (None, "first"),
        (now - timedelta(days=30), "first"),
        (now - timedelta(hours=1), "second"),
    ):
        assert set(source.history(SYMBOLS, start)["provider"].to_pylist()) == {given}


def test_what_the_first_does_not_have_is_asked_of_the_next() -> None:
    """An unknown symbol is no failure of the provider; if nobody knows it the first one's words are told."""
    unknown = UnknownNameError("symbol", "X", ["A"], where="source 'first'")
    first, second = Scripted("first", past=_fails(unknown)), Scripted("second")
    assert set(_source(first, second).history(SYMBOLS)["provider"].to_pylist()) == {"second"}
    both = _source(
        Scripted("first", past=_fails(unknown)), Scripted("second", past=_fails(DataError("no such bars")))
    )
    with pytest.raises(UnknownNameError, match="unknown symbol 'X'"):
        both.history(SYMBOLS)


def test_when_nobody_answers_every_reason_is_told() -> None:
    """The error names each provider with what it said, and chains the first."""
    source = _source(Scripted("first", past=_broken), Scripted("second", past=_broken))
    with pytest.raises(
        GaveUpError, match=r"no provider of 'failover'.*first: .*503.*second: .*503"
    ) as caught:
        source.history(SYMBOLS)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("providers", "match"),
    [
        ((), "different names"),
        ((Scripted("a"), Scripted("a")), "different names"),
        ((Scripted("a"), Scripted("b", calendar="XNYS")), "different calendars"),
    ],
)
def test_an_impossible_list_of_providers_is_refused(providers, match) -> None:
    """No providers, two of one name, or two calendars make no feed."""
    with pytest.raises(InputError, match=match):
        FailoverSource(providers)


@pytest.mark.parametrize(
    "given", [{"deadline": 0.0}, {"healthy": 0}, {"stale_bars": 0}, {"skew": timedelta(seconds=-1)}]
)
def test_an_impossible_policy_is_refused(given) -> None:
    """Numbers that make no sense are named."""
    with pytest.raises(InputError, match="must be positive"):
        FailoverPolicy(**given)


def test_a_deadline_as_long_as_a_bar_is_refused() -> None:
    """With it a switch would take longer than one bar."""
    with pytest.raises(InputError, match="not shorter than a bar"):
        _read(_source(Scripted("a"), deadline=60.0))


def test_what_it_is_follows_from_its_providers() -> None:
    """Symbols, calendar and adjusted prices are those of its providers; one adjusted provider marks all."""
    source = _source(Scripted("a"), Scripted("b", adjusted_only=True))
    assert (source.symbols(), source.calendar, source.adjusted_only) == (SYMBOLS, "24/7", True)
    assert source.description == "bars of a, else of b"
    assert (source.active, source.stale, source.readings()) == ("a", False, [])


def test_every_bar_names_its_provider_whatever_the_stream_said() -> None:
    """A stream that names itself otherwise is still called what the failover calls it."""
    bars = _read(_source(Scripted("a", [[_bar(0), _bar(1)]])))
    assert [bar.provider for bar in bars] == ["a", "a"]


def test_a_gap_that_no_stream_tells_is_filled_from_history() -> None:
    """Both were away for three bars: these come from history, before the bar that showed the gap."""
    past = lambda: _table(*(_bar(number) for number in range(10)))  # noqa: E731
    source = _source(
        Scripted("a", [[_bar(0), _bar(1), _bar(5)]], past=_broken), Scripted("b", [[]], past=past)
    )
    bars = _read(source)
    assert [bar.timestamp for bar in bars] == [START + number * MINUTE for number in range(6)]
    assert [bar.provider for bar in bars] == ["a", "a", "b", "b", "b", "a"]
    assert (source.counts["gap"], source.counts["filled"]) == (1, 3)


def test_a_gap_that_nobody_can_fill_does_not_stop_the_stream() -> None:
    """It is counted, and the bar after it goes out."""
    source = _source(Scripted("a", [[_bar(0), _bar(4)]], past=_broken))
    assert [bar.timestamp for bar in _read(source)] == [START, START + 4 * MINUTE]
    assert source.counts["unfilled"] == 1


def test_a_night_is_no_gap() -> None:
    """Where no bar could have closed, history is not asked."""
    provider = Scripted("a", [[_bar(0), _bar(4)]])
    _read(_source(provider, expects=lambda start, end: False))
    assert provider.asked == 0


def test_a_stream_that_fails_is_opened_again_while_the_other_goes_on() -> None:
    """The backup takes over at once; the primary's stream is opened anew and closed each time."""
    primary = Scripted("a", [[_bar(0), VendorError("gone")], [0.05, *(_bar(n) for n in range(3, 9)), 0.2]])
    backup = Scripted("b", [[0.01, *(step for n in range(9) for step in (_bar(n), 0.02)), 0.2]])
    told = []
    source = FailoverSource((primary, backup), _policy(healthy=2), clock=NOW, on_switch=told.append)
    bars = _read(source)
    assert [bar.timestamp for bar in bars] == [START + number * MINUTE for number in range(9)]
    assert bars[1].provider == "b"
    assert bars[-1].provider == "a"
    assert primary.opened == primary.closed == 2
    assert told == source.switches
    assert source.counts["switches"] == len(told) >= 2


def test_it_gives_up_when_every_provider_fails_again_and_again() -> None:
    """Streams that raise what trying again does not mend end it with a word about all of them."""
    providers = [Scripted(name, [[VendorError("credentials")]]) for name in ("a", "b")]
    with pytest.raises(VendorError, match="every provider failed 2 times in a row: a, b"):
        _read(_source(*providers))
    assert all(one.opened == one.closed for one in providers)


def test_a_symbol_that_no_stream_knows_is_told() -> None:
    """What the caller can mend comes out as it was said."""
    unknown = UnknownNameError("symbol", "X", ["A"])
    with pytest.raises(UnknownNameError, match="unknown symbol 'X'"):
        _read(_source(Scripted("a", [[unknown]])))


def test_an_error_nobody_expected_is_not_swallowed() -> None:
    """A fault in a provider's code reaches whoever reads the stream."""
    with pytest.raises(ZeroDivisionError):
        _read(_source(Scripted("a", [[_bar(0), ZeroDivisionError("a fault")]]), Scripted("b", [[5.0]])))


def test_bars_that_cannot_be_of_this_stream_are_skipped_and_counted() -> None:
    """A strange symbol, a close between bars and a bar of the future are not believed; the stream goes on."""
    strange = [_bar(1, "Z"), Bar("X", START + 90 * timedelta(seconds=1), 1.0), _bar(1000)]
    source = _source(Scripted("a", [[_bar(0), *strange, _bar(1)]]))
    assert [bar.timestamp for bar in _read(source)] == [START, START + MINUTE]
    assert source.counts["refused"] == 3
    assert [one.ahead for one in source.readings()] == [1]


def test_a_reader_that_goes_away_leaves_no_stream_open() -> None:
    """Closing the stream closes every provider's, in whatever they are waiting."""
    providers = [Scripted("a", [[_bar(0), 60.0]]), Scripted("b", [[60.0]])]
    assert len(_read(_source(*providers), count=1)) == 1
    assert [(one.opened, one.closed) for one in providers] == [(1, 1), (1, 1)]


def test_a_feed_that_nobody_feeds_is_stale() -> None:
    """Once every provider was silent for longer than the limit, the source says so."""
    clock = ReplayClock(START + MINUTE)
    provider = Scripted("a", [[_bar(0), _bar(1), 30.0]])
    source = FailoverSource((provider,), _policy(stale_bars=3), clock=clock)

    async def read() -> list[bool]:
        stream = source.stream(SYMBOLS, "1m")
        await anext(stream)
        told = [source.stale]
        clock.advance(clock.now() + 3 * MINUTE)
        told.append(source.stale)
        clock.advance(clock.now() + MINUTE)
        told.append(source.stale)
        assert source.readings()[0].silent == 4 * MINUTE
        await stream.aclose()
        return told

    assert asyncio.run(read()) == [False, False, True]
