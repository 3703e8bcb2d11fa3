"""A strategy of the user's on the command line: it trades, is replayed, and an edit of its file is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alphaloop import plugins
from alphaloop.bars import to_datetime
from alphaloop.clock import ReplayClock, SystemClock
from alphaloop.costs import CostModel
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import load_settings
from alphaloop.sleeve_plan import sleeve_names
from cli.main import run_command
from loop.audit import TRADING_STREAM, order_ids
from loop.decision_replay import ReplayOutcome, replay_decisions
from marketdata.source import close_only_panel
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits
from trading.strategy import configured_strategy

BARS, SYMBOLS = 8, ("AAA", "BBB", "CCC")
BEST = '''
import numpy as np


class Best:
    """All of the capital in the symbol with the best score."""

    name = "best"

    def weights(self, view):
        return {view.symbols[int(np.argmax(view.scores))]: 1.0}


STRATEGY = Best
'''
WORST = BEST.replace("argmax", "argmin")


def start_anew() -> None:
    """Forget the plug-ins that were loaded, as a process that starts does."""
    plugins._load_once.cache_clear()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a strategy's file, settings that choose it, and a journal that it decided."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.py").write_text(BEST)
    (tmp_path / "alphaloop.toml").write_text(
        'home = "home"\nplugins = ["best.py"]\n[trading]\nstrategy = "best"\n'
    )
    start_anew()
    _trade(0, BARS - 2)
    yield tmp_path
    plugins.use_files([])


def _trade(first: int, last: int) -> None:
    """Trade the bars `first` to `last - 1` by the strategy of the settings."""
    settings, rng = load_settings(), np.random.default_rng(5)
    days = np.datetime64("2020-01-02T21:00", "ns") + np.arange(BARS) * np.timedelta64(1, "D")
    bars = close_only_panel(days, SYMBOLS, 100 * np.cumprod(1 + rng.normal(0, 0.02, (BARS, 3)), axis=0))
    clock = ReplayClock(to_datetime(days[first]))
    with Journal(settings.paths.journal, settings.paths.anchors, clock) as journal:
        engine = TradingEngine(
            symbols=SYMBOLS,
            broker=PaperBroker(CostModel()),
            forecaster=ArrayForecaster(bars.timestamps, SYMBOLS, rng.normal(size=(BARS, 3))),
            strategy=configured_strategy(settings.trading),
            risk=RiskCheck(RiskLimits(prediction_deadline_ms=None, max_weight=0.6)),
            costs=CostModel(),
            sleeves=sleeve_names(20),
            capital=1_000_000,
            clock=clock,
            journal_writer=journal.writer(TRADING_STREAM),
            simulated=True,
        )
        for index in range(first, last):
            clock.advance(to_datetime(days[index]))
            engine.on_bar(bars.at(index))


def test_every_decision_is_replayed_by_the_users_file(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`audit replay` makes all decisions again, or that of one order, and names the strategy."""
    start_anew()
    assert run_command(["audit", "replay"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{BARS - 2} decisions: {BARS - 2} identical"
    assert run_command(["audit", "replay", order_ids(load_settings())[0], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["identical"] and shown["decision"]["strategy"]["name"] == "best"


def test_an_edited_file_is_not_replayable(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3 and one line with strategy and digest, for an order and for all decisions; never broken."""
    order_id = order_ids(load_settings())[0]
    (desk / "best.py").write_text(WORST)
    start_anew()
    assert run_command(["audit", "replay", order_id]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("alphaloop: not replayable: strategy best of digest ")
    assert run_command(["audit", "replay"]) == 3
    shown = capsys.readouterr()
    assert shown.out.count("not replayable: strategy best of digest") == BARS - 2
    assert shown.out.splitlines()[-1] == f"{BARS - 2} decisions: {BARS - 2} not replayable"
    assert "broken" not in shown.out + shown.err
    assert run_command(["audit", "verify"]) == 0


def test_decisions_of_both_files_are_told_apart(desk: Path) -> None:
    """After an edit the new decisions are replayed, and those of before say that they cannot be."""
    (desk / "best.py").write_text(WORST)
    start_anew()
    _trade(BARS - 2, BARS)
    replayed = replay_decisions(load_settings())
    assert [one.outcome for one in replayed] == [
        *[ReplayOutcome.NOT_REPLAYABLE] * (BARS - 2),
        *[ReplayOutcome.IDENTICAL] * 2,
    ]
    assert all(one.orders for one in replayed)


def test_other_orders_of_the_same_strategy_are_broken(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the code is that of then and other orders follow, the decision is broken: exit 1."""
    start_anew()
    first = replay_decisions(load_settings())[0].decision_id
    monkeypatch.setattr(RiskCheck, "clip", lambda check, wanted, *_: (wanted * 0.5, []))
    assert run_command(["audit", "replay"]) == 1
    shown = capsys.readouterr()
    assert f"alphaloop: decision {first}: broken: other orders follow from it, in " in shown.err


def test_a_newer_rule_is_not_replayable_here(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A decision of a rule of a later release is not called broken by this one."""
    settings = load_settings()
    with (
        Journal(settings.paths.journal, settings.paths.anchors, SystemClock()) as journal,
        journal.writer(TRADING_STREAM) as writer,
    ):
        writer.append("decision", {"decision_id": "later", "as_of": "2021-01-04", "rule": 99})
    start_anew()
    assert run_command(["audit", "replay"]) == 3
    assert "decision later: not replayable: decision later was made by rule 99" in capsys.readouterr().err
