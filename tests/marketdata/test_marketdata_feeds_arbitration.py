"""The election: whose bar is taken, with the time given by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import Bar
from marketdata.feeds.arbitration import FeedArbiter
from marketdata.feeds.consensus import Consensus

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DEADLINE = 2.0


def _bar(number: int, symbol: str = "X", close: float | None = None) -> Bar:
    price = 100.0 + 0.05 * (-1) ** number
    return Bar(symbol, START + number * MINUTE, price if close is None else close)


def _tell(election: FeedArbiter, provider: str, bar: Bar, now: float) -> None:
    election.offer(provider, replace(bar, provider=provider), now)


def _election(*providers: str, consensus: Consensus | None = None, healthy: int = 3) -> FeedArbiter:
    return FeedArbiter(providers or ("a", "b"), DEADLINE, healthy, consensus)


def _run(election: FeedArbiter, bars: range, tellers: dict[str, float], **changed: object) -> list[tuple]:
    """Each bar told by `tellers` (provider to delay in seconds); `(bar, provider, delay)` as settled."""
    settled = []
    for number in bars:
        close = number * 60.0
        events = sorted((close + delay, name) for name, delay in tellers.items())
        moments = {moment for moment, _ in events} | {close + 59.0}
        while moments:
            now = min(moments)
            moments.discard(now)
            for moment, name in events:
                if moment == now:
                    _tell(election, name, changed.get(name, _bar)(number), now)
            settled += [(number, one.bar.provider, now - close) for one in election.settle(now)]
            due = election.next_deadline()
            if due is not None and now < due < close + 59.0:
                moments.add(due)
    return settled


def test_bars_that_all_tell_wait_for_nobody():
    """With every provider there, a bar is settled when the last has told of it, on the preferred's word."""
    election = _election(consensus=Consensus())
    settled = _run(election, range(5), {"a": 0.1, "b": 0.3})
    assert [(number, name, round(delay, 6)) for number, name, delay in settled] == [
        (number, "a", 0.3) for number in range(5)
    ]
    assert election.switches == []


def test_a_primary_that_falls_silent_costs_one_deadline_and_one_switch():
    """The bar that the primary does not tell comes at the deadline from the next; later ones wait no more."""
    for consensus in (None, Consensus()):
        election = _election(consensus=consensus)
        _run(election, range(5), {"a": 0.1, "b": 0.3})
        settled = _run(election, range(5, 9), {"b": 0.3})
        assert [(number, name) for number, name, _ in settled] == [(n, "b") for n in range(5, 9)]
        assert [round(delay, 6) for _, _, delay in settled] == [0.3 + DEADLINE, 0.3, 0.3, 0.3]
        (switch,) = election.switches
        assert (switch.at, switch.left, switch.taken) == (_bar(5).timestamp, "a", "b")
        assert "no bar within 2 s" in switch.reason


def test_a_stream_that_is_down_is_not_waited_for():
    """A primary whose stream ended costs not even a deadline."""
    election = _election(consensus=Consensus())
    _run(election, range(5), {"a": 0.1, "b": 0.3})
    election.mark_down("a")
    settled = _run(election, range(5, 7), {"b": 0.3})
    assert [(name, round(delay, 6)) for _, name, delay in settled] == [("b", 0.3), ("b", 0.3)]
    assert election.switches[0].reason == "its stream is down"


def test_a_bar_that_is_open_is_not_held_back_for_who_went_down() -> None:
    """A provider that goes down while its word is awaited is awaited no more, and no more of it is needed."""
    election = _election(consensus=Consensus())
    _run(election, range(3), {"a": 0.1, "b": 0.3})
    _tell(election, "b", _bar(3), 180.3)
    assert election.settle(180.3) == []
    election.mark_down("a")
    assert [one.bar.provider for one in election.settle(180.4)] == ["b"]


def test_who_tells_of_a_later_bar_is_not_waited_for() -> None:
    """Bars of a provider come in order: one that skipped a bar will not tell of it, so nobody waits."""
    election = _election(consensus=Consensus())
    _run(election, range(3), {"a": 0.1, "b": 0.3})
    _tell(election, "b", _bar(3), 180.0)
    _tell(election, "a", _bar(4), 180.1)
    assert [(one.bar.timestamp, one.bar.provider) for one in election.settle(180.1)] == [
        (_bar(3).timestamp, "b")
    ]
    assert election.switches == []


def test_a_primary_comes_back_only_after_doing_well_for_a_while():
    """Silent again and again, the primary is not taken back in between: no flapping."""
    for consensus in (None, Consensus()):
        election = _election(consensus=consensus, healthy=3)
        _run(election, range(3), {"a": 0.1, "b": 0.3})
        number = 3
        for _ in range(6):
            _run(election, range(number, number + 1), {"b": 0.3})
            _run(election, range(number + 1, number + 3), {"a": 0.1, "b": 0.3})
            number += 3
        assert [(switch.left, switch.taken) for switch in election.switches] == [("a", "b")]
        settled = _run(election, range(number, number + 8), {"a": 0.1, "b": 0.3})
        assert [(switch.left, switch.taken) for switch in election.switches] == [("a", "b"), ("b", "a")]
        assert election.active == "a"
        assert "healthy for 3 bars" in election.switches[-1].reason
        assert [name for _, name, _ in settled][-3:] == ["a"] * 3


def test_a_primary_that_is_always_late_is_left_and_its_bars_are_not_taken_twice():
    """Bars that come after the deadline are counted late and dropped; each bar comes out once."""
    election = _election(consensus=Consensus())
    _run(election, range(3), {"a": 0.1, "b": 0.3})
    settled = _run(election, range(3, 10), {"a": 30.0, "b": 0.3})
    assert [number for number, _, _ in settled] == list(range(3, 10))
    assert {name for _, name, _ in settled} == {"b"}
    assert election.counts["late"] == 7
    assert election.active == "b"


def test_a_garbled_primary_is_outvoted_in_the_very_bar():
    """An absurd close loses against the past, and the provider that told it is left at once."""
    election = _election(consensus=Consensus())
    _run(election, range(20), {"a": 0.1, "b": 0.3})
    settled = _run(election, range(20, 23), {"a": 0.1, "b": 0.3}, a=lambda number: _bar(number, close=9e4))
    assert [name for _, name, _ in settled] == ["b"] * 3
    assert [(one.at, one.taken, one.reason) for one in election.switches] == [
        (_bar(20).timestamp, "b", "outvoted (past)")
    ]
    assert election.counts["outvoted"] == 3


def test_what_nothing_can_decide_is_marked_and_switches_nothing():
    """Two plausible closes apart: the active provider's bar, disputed, and it stays active."""
    election = _election(consensus=Consensus())
    _run(election, range(20), {"a": 0.1, "b": 0.3})
    _tell(election, "a", _bar(20, close=100.0), 1200.1)
    _tell(election, "b", _bar(20, close=100.3), 1200.3)
    (one,) = election.settle(1200.3)
    assert (one.bar.provider, one.bar.disputed, election.switches) == ("a", True, [])
    assert election.counts["disputed"] == 1


def test_one_missing_symbol_is_substituted_without_a_switch():
    """A primary that tells of the others but not of one symbol stays active; the next gives that bar."""
    election = _election(consensus=Consensus())
    for number in range(4):
        now = number * 60.0
        _tell(election, "a", _bar(number, "X"), now)
        for symbol in ("X", "Y"):
            _tell(election, "b", _bar(number, symbol), now)
        got = [*election.settle(now), *election.settle(now + DEADLINE)]
        assert {one.bar.symbol: one.bar.provider for one in got} == {"X": "a", "Y": "b"}
    assert election.switches == []
    assert election.counts["substituted"] == 4


def test_a_settled_bar_says_which_came_before():
    """`previous` is the close before, so whoever reads on can see a gap."""
    election = _election()
    _run(election, range(2), {"a": 0.1})
    _tell(election, "a", _bar(5), 300.0)
    (one,) = election.settle(300.0)
    assert one.previous == _bar(1).timestamp


def test_a_level_that_one_provider_alone_keeps_telling_is_believed_in_the_end():
    """A lone jump is disputed for some bars; nobody contradicts it, so it is the market's by then."""
    election = _election("a", consensus=Consensus(min_changes=10))
    _run(election, range(20), {"a": 0.1})
    marks = []
    for number in range(20, 40):
        _tell(election, "a", _bar(number, close=150.0), number * 60.0)
        marks += [one.bar.disputed for one in election.settle(number * 60.0)]
    assert marks == [True] * 10 + [False] * 10


@st.composite
def tellings(draw) -> list[tuple[float, str, int, str]]:
    """Bars of two symbols by three providers, each in its own order, with delays, pauses and losses."""
    events = []
    for provider in ("a", "b", "c"):
        clock = 0.0
        for number in range(draw(st.integers(0, 12))):
            if draw(st.integers(0, 4)) == 0:
                continue
            clock = max(clock, number * 60.0 + draw(st.sampled_from([0.0, 0.1, 1.9, 2.5, 59.0, 200.0])))
            for symbol in draw(st.sampled_from([("X",), ("Y",), ("X", "Y")])):
                events.append((clock, provider, number, symbol))
    return sorted(events)


@given(tellings(), st.booleans(), st.integers(1, 3))
def test_every_bar_comes_out_once_in_order_and_by_its_deadline(events, compared, healthy):
    """Whatever is late or lost, each symbol's bars come in order, each once, none after its deadline.

    What is not given out was told only after a later bar had gone out, and that gap is visible.
    """
    election = _election("a", "b", "c", consensus=Consensus() if compared else None, healthy=healthy)
    opened: dict[tuple[str, int], float] = {}
    out: list[tuple[str, datetime]] = []
    told, given_out = set(), {}

    def settle(now: float, finish: bool = False) -> None:
        for one in election.settle(now, finish=finish):
            key = (one.bar.symbol, one.bar.timestamp)
            before = [at for symbol, at in out if symbol == one.bar.symbol]
            assert one.previous == (before[-1] if before else None)
            assert not before or one.bar.timestamp > before[-1]
            assert one.bar.provider in election.providers
            out.append(key)
            given_out[key] = now
            assert now <= opened[key] + DEADLINE

    for now, provider, number, symbol in events:
        while (due := election.next_deadline()) is not None and due <= now:
            settle(due)
        key = (symbol, _bar(number).timestamp)
        told.add(key)
        opened.setdefault(key, now)
        _tell(election, provider, _bar(number, symbol), now)
        settle(now)
    settle(1e9, finish=True) if election.next_deadline() is None else settle(
        election.next_deadline(), finish=True
    )
    assert election.next_deadline() is None
    assert len(out) == len(set(out))
    for symbol, at in told - set(out):
        later = [given_out[one] for one in out if one[0] == symbol and one[1] > at]
        assert later
        assert min(later) <= opened[symbol, at]
