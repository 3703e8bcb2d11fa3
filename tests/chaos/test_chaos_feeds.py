"""Chaos: the primary provider is killed, frozen, delayed and corrupted while its bars are traded on.

The providers are programs of their own behind real TCP. Times are counted in bars: a machine that is
busy is late for both providers alike.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import Bar, BarPanel, Slice, to_datetime64
from alphaloop.clock import ReplayClock, monotonic
from alphaloop.costs import CostModel
from alphaloop.errors import VendorError
from alphaloop.journal.store import Journal
from marketdata.connectors.retry import RetryPolicy
from marketdata.feeds.assembler import LiveSlices, SliceAssembler
from marketdata.feeds.consensus import Consensus
from marketdata.feeds.failover import FailoverSource
from marketdata.feeds.failover_policy import FailoverPolicy
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits

PROGRAM = Path(__file__).with_name("bar_server.py")
PERIOD_MS = 150
PERIOD = timedelta(milliseconds=PERIOD_MS)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SYMBOLS = ("AA", "BBB")
HEALTHY = 3


def _truth() -> Callable[[str, int], float]:
    spec = importlib.util.spec_from_file_location("bar_server", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.close_of


close_of = _truth()


def _number(at: datetime) -> int:
    return round((at - EPOCH) / PERIOD)


class Provider:
    """One provider: its program, and the source that speaks to it. As a vendor's, it reconnects by itself."""

    calendar, adjusted_only, description = "24/7", False, "bars over TCP"

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: dict[tuple[str, datetime], float] = {}
        self.malformed = 0
        command = [sys.executable, "-I", str(PROGRAM), str(PERIOD_MS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def fault(self, kind: str) -> None:
        self._ask({"fault": kind})

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    def history(self, symbols: Sequence[str], start: datetime, end: datetime, frequency: str) -> pa.Table:
        rows = self._ask({"history": [list(symbols), _number(start), _number(end)]})
        times = np.array([to_datetime64(EPOCH + row["number"] * PERIOD) for row in rows], "datetime64[ns]")
        absent = pa.array([None] * len(rows), pa.float64())
        columns = {"symbol": pa.array([row["symbol"] for row in rows], pa.string())}
        columns["timestamp"] = pa.array(times, pa.timestamp("ns", tz="UTC"))
        columns |= dict.fromkeys(("open", "high", "low"), absent)
        columns["close"] = pa.array([row["close"] for row in rows], pa.float64())
        return pa.table(columns | {"volume": absent, "adjustment": pa.array([1.0] * len(rows), pa.float64())})

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            try:
                writer.write(json.dumps({"stream": list(symbols)}).encode() + b"\n")
                while line := await reader.readline():
                    bar = self._bar(line)
                    if bar is not None:
                        self.told.setdefault((bar.symbol, bar.timestamp), monotonic())
                        yield bar
            except OSError:
                await asyncio.sleep(0.05)
            finally:
                writer.close()

    def _bar(self, line: bytes) -> Bar | None:
        try:
            row = json.loads(line)
            return Bar(row["symbol"], EPOCH + row["number"] * PERIOD, row["close"], provider=self.name)
        except (ValueError, KeyError, OverflowError):
            self.malformed += 1
            return None

    def _ask(self, question: dict[str, object]) -> list[dict[str, object]]:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(json.dumps(question).encode() + b"\n")
                with connection.makefile("rb") as answer:
                    return json.loads(answer.readline())
        except (OSError, ValueError) as error:
            raise VendorError(f"{self.name} does not answer") from error


class Rig:
    """Providers made one by a failover, assembled into slices, and read by a plain loop."""

    def __init__(self, names: Sequence[str]) -> None:
        self.providers = {name: Provider(name) for name in names}
        policy = FailoverPolicy(
            deadline=0.4 * PERIOD_MS / 1000,
            healthy=HEALTHY,
            consensus=Consensus(min_changes=4),
            retry=RetryPolicy(on=(VendorError,), attempts=2, base=0.02, cap=0.1, deadline=2.0),
            period=PERIOD,
        )
        self.source = FailoverSource(list(self.providers.values()), policy)
        self.assembler = SliceAssembler(self.source, SYMBOLS, "150ms", grace=PERIOD * 2)
        self.live = LiveSlices(self.assembler)
        self.slices: list[Slice] = []
        self.waits: dict[datetime, float] = {}

    def read(self, count: int) -> list[Slice]:
        """The next slices; how long each came after the first provider's bar is kept, in bars."""
        for bars in (next(self.live) for _ in range(count)):
            self.slices.append(bars)
            told = [
                one.told[symbol, bars.timestamp]
                for one in self.providers.values()
                for symbol in SYMBOLS
                if (symbol, bars.timestamp) in one.told
            ]
            self.waits[bars.timestamp] = (monotonic() - min(told)) * 1000 / PERIOD_MS if told else 0.0
        return self.slices[-count:]

    def settle(self) -> None:
        """Read until both providers have told of a bar, and some more, so that there is a past."""
        self.read(8)
        primary, *_ = self.providers
        if self.source.active != primary:
            # A machine that was busy at the start: the primary is taken back once it is well.
            self.until(lambda bars: self.source.active == primary)

    def until(self, condition: Callable[[Slice], bool], most: int = 60) -> list[Slice]:
        """Slices up to the first for which `condition` holds."""
        for count in range(1, most):
            if condition(self.read(1)[0]):
                return self.slices[-count:]
        raise AssertionError(f"it did not come to that within {most} bars: {self.source.switches}")

    def require_the_truth(self) -> None:
        """Nothing is lost or doubled, and what is not marked is true and names who told it."""
        times = [bars.timestamp for bars in self.slices]
        assert times == [times[0] + step * PERIOD for step in range(len(times))]
        for bars in self.slices[1:]:
            for column, symbol in enumerate(bars.symbols):
                assert np.isfinite(bars.close[column]), (symbol, bars.timestamp)
                assert bars.providers[column] in self.providers
                if symbol not in bars.disputed:
                    assert bars.close[column] == close_of(symbol, _number(bars.timestamp))

    def end(self) -> None:
        self.live.close()
        for provider in self.providers.values():
            provider.end()


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """`make_rig(*names)`: providers in this order; nothing of them is left behind."""
    before = set(threading.enumerate())
    rigs: list[Rig] = []

    def make(*names: str) -> Rig:
        rigs.append(Rig(names))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.end()
    assert set(threading.enumerate()) <= before


def _tagged(slices: Sequence[Slice], name: str) -> bool:
    return all(set(bars.providers) == {name} for bars in slices)


def test_a_killed_primary_costs_no_bar(make_rig):
    """`kill -9` on the primary: the next bar comes from the backup within one bar, and none is missing."""
    rig = make_rig("primary", "backup")
    rig.settle()
    switches = len(rig.source.switches)
    rig.providers["primary"].signal(signal.SIGKILL)
    rig.providers["primary"].process.wait(10)
    last = max(at for _, at in rig.providers["primary"].told)
    after = rig.until(lambda bars: bars.timestamp >= last + 6 * PERIOD)
    orphans = [bars for bars in after if bars.timestamp > last]
    rig.require_the_truth()
    assert _tagged(orphans, "backup")
    (switch,) = rig.source.switches[switches:]
    assert (switch.left, switch.taken) == ("primary", "backup")
    assert last <= switch.at <= orphans[0].timestamp
    assert rig.waits[orphans[0].timestamp] < 1.0


def test_a_frozen_primary_is_left_and_taken_back_once_it_is_well(make_rig):
    """Stopped, its connection open and silent, the primary is left within one bar; thawed, what it has
    kept back doubles nothing, and it is active again only after some bars in a row.
    """
    rig = make_rig("primary", "backup")
    rig.settle()
    switches = len(rig.source.switches)
    rig.providers["primary"].signal(signal.SIGSTOP)
    frozen = rig.until(lambda bars: _tagged([bars], "backup"))
    assert len(frozen) <= 4
    assert rig.waits[frozen[-1].timestamp] < 1.0
    assert _tagged(rig.read(6), "backup")
    rig.providers["primary"].signal(signal.SIGCONT)
    thawed = rig.until(lambda bars: _tagged([bars], "primary"))
    rig.read(3)
    rig.require_the_truth()
    left, back = rig.source.switches[switches : switches + 2]
    assert (left.left, left.taken, back.left, back.taken) == ("primary", "backup", "backup", "primary")
    assert len(thawed) >= HEALTHY
    assert rig.source.counts["reopened"] >= 1


def test_a_delayed_primary_is_left_and_its_late_bars_double_nothing(make_rig):
    """Bars that come more than a bar late are taken from the backup instead, each once."""
    rig = make_rig("primary", "backup")
    rig.settle()
    rig.providers["primary"].fault("delay")
    delayed = rig.until(lambda bars: _tagged([bars], "backup"))
    assert len(delayed) <= 4
    assert rig.waits[delayed[-1].timestamp] < 1.0
    assert _tagged(rig.read(6), "backup")
    rig.require_the_truth()
    assert rig.source.counts["late"] > 0
    assert rig.source.active == "backup"


def test_a_corrupted_primary_is_outvoted_or_marked(make_rig, tmp_path):
    """Absurd prices, NaN, strange symbols, broken frames and times to come never reach the loop. Prices
    that are merely wrong dispute the bars, since nothing can decide; on these nothing is bought.
    """
    rig = make_rig("primary", "backup")
    rig.settle()
    primary = rig.providers["primary"]
    primary.fault("corrupt")
    rig.until(lambda bars: _tagged([bars], "backup"))
    assert _tagged(rig.read(7), "backup")
    rig.require_the_truth()
    assert not any(bars.disputed for bars in rig.slices)
    assert primary.malformed > 0
    assert rig.source.counts["refused"] > 0
    primary.fault("subtle")
    doubted = rig.until(lambda bars: set(bars.disputed) == set(SYMBOLS))[-1]
    assert _tagged([doubted], "backup")
    stored = BarPanel.from_slices(rig.slices).to_table().to_pylist()
    rows = [row for row in stored if row["timestamp"].to_pydatetime() == doubted.timestamp]
    assert [(row["provider"], row["disputed"]) for row in rows] == [("backup", True)] * 2
    rig.read(4)
    rig.require_the_truth()
    records = _trade(rig.slices, tmp_path)
    decisions = [one for one in records if one["kind"] == "decision"]
    assert [one["providers"] for one in decisions] == [list(bars.providers) for bars in rig.slices]
    marked = {one["as_of"] for one in decisions if one.get("disputed") == list(SYMBOLS)}
    assert len(marked) >= 3
    orders = [one for one in records if one["kind"] == "order"]
    assert {one["side"] for one in orders if one["decided_at"] not in marked} == {"buy", "sell"}
    assert not any(one["side"] == "buy" for one in orders if one["decided_at"] in marked)


def _trade(slices: Sequence[Slice], folder: Path) -> list[dict[str, Any]]:
    """The journal's records after the engine traded `slices`, with scores that change sides at every bar."""
    clock, costs = ReplayClock(slices[0].timestamp), CostModel()
    times = np.array([to_datetime64(bars.timestamp) for bars in slices], "datetime64[ns]")
    scores = np.array([[1.0, -1.0] if row % 2 else [-1.0, 1.0] for row in range(len(slices))])
    with Journal(folder / "journal.db", folder / "anchors.jsonl", clock) as journal:
        engine = TradingEngine(
            SYMBOLS,
            PaperBroker(costs),
            ArrayForecaster(times, SYMBOLS, scores),
            AllocationStrategy(rate=0.5, band=0.0),
            RiskCheck(RiskLimits(max_weight=1.0)),
            costs,
            sleeves=("sleeve-00",),
            capital=1_000_000,
            clock=clock,
            journal_writer=journal.writer("trading"),
            simulated=True,
        )
        for bars in slices:
            clock.advance(bars.timestamp)
            engine.on_bar(bars)
        return [{"kind": record.kind, **record.body} for record in journal.records("trading")]


def test_with_a_third_provider_a_merely_wrong_primary_is_outvoted(make_rig):
    """Two providers that agree decide against a primary that is only a little wrong: nothing is disputed."""
    rig = make_rig("primary", "second", "third")
    rig.settle()
    rig.providers["primary"].fault("subtle")
    rig.until(lambda bars: _tagged([bars], "second"))
    assert _tagged(rig.read(4), "second")
    rig.require_the_truth()
    assert rig.source.counts["outvoted"] > 0
    assert "majority" in rig.source.switches[-1].reason
