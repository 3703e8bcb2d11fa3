"""An order can be decided again from the journal, and a journal that was altered says where."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.errors import (
    ChainBrokenError,
    DamagedStoreError,
    InputError,
    MissingStateError,
    UnknownNameError,
)
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings, load_settings
from alphaloop.sleeve_plan import sleeve_names
from loop import audit
from marketdata.source import close_only_panel
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits

BARS, SYMBOLS = 12, ("AAA", "BBB", "CCC")


def _bars() -> BarPanel:
    rng = np.random.default_rng(5)
    close = 100 * np.cumprod(1 + rng.normal(0, 0.02, (BARS, len(SYMBOLS))), axis=0)
    start = np.datetime64("2020-01-02T21:00", "ns")
    return close_only_panel(start + np.arange(BARS) * np.timedelta64(1, "D"), SYMBOLS, close)


@pytest.fixture
def traded(tmp_path: Path) -> Settings:
    """Settings of a workspace in which the engine traded a few bars."""
    settings, bars = load_settings(home=tmp_path / "home"), _bars()
    clock, costs = ReplayClock(datetime(2020, 1, 2, tzinfo=UTC)), CostModel()
    scores = np.random.default_rng(6).normal(size=(BARS, len(SYMBOLS)))
    with Journal(settings.paths.journal, settings.paths.anchors, clock) as journal:
        engine = TradingEngine(
            symbols=SYMBOLS,
            broker=PaperBroker(costs),
            forecaster=ArrayForecaster(bars.timestamps, SYMBOLS, scores),
            strategy=AllocationStrategy(),
            risk=RiskCheck(RiskLimits(prediction_deadline_ms=None, max_weight=0.6)),
            costs=costs,
            sleeves=sleeve_names(20),
            capital=1_000_000,
            clock=clock,
            journal_writer=journal.writer(audit.TRADING_STREAM),
            simulated=True,
        )
        for one in bars.slices():
            clock.advance(one.timestamp)
            engine.on_bar(one)
    return settings


def test_every_order_is_decided_again_to_the_same(traded: Settings) -> None:
    """From the journaled decision alone comes the identical order, for every order there is."""
    ids = audit.order_ids(traded)
    assert len(ids) > BARS
    assert all(audit.replay_order(traded, order_id)["identical"] for order_id in ids)


def test_an_orders_records_lead_to_its_fill(traded: Settings) -> None:
    """Order, decision and fills of the first order belong together."""
    order, decision, fills = audit.order_records(traded, audit.order_ids(traded)[0])
    assert order.body["decision_id"] == decision.body["decision_id"]
    assert [fill.body["client_order_id"] for fill in fills] == [order.body["client_order_id"]]


def test_an_order_that_never_was_is_named(traded: Settings) -> None:
    """The error names the id and shows those that there are."""
    with pytest.raises(UnknownNameError, match="unknown order 'al-0'"):
        audit.replay_order(traded, "al-0")


def test_a_whole_journal_verifies_and_an_altered_one_says_where(traded: Settings) -> None:
    """One changed byte is found, with its stream and record."""
    assert all(chain.ok for chain in audit.audit_journal(traded))
    with sqlite3.connect(traded.paths.journal) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE type='table' AND sql LIKE '%previous%'"
        ).fetchone()
        connection.execute(
            f"UPDATE {table} SET body = replace(body, 'buy', 'bux') WHERE kind='order' AND seq=3"
        )
        row = connection.execute(f"SELECT seq FROM {table} WHERE body LIKE '%bux%'").fetchone()
    connection.close()
    (broken,) = [chain for chain in audit.audit_journal(traded) if not chain.ok]
    assert (broken.stream, broken.first_bad) == (audit.TRADING_STREAM, row[0])


def test_without_a_journal_there_is_nothing_to_audit(tmp_path: Path) -> None:
    """A missing journal is named, with what makes one."""
    settings = load_settings(home=tmp_path)
    with pytest.raises(MissingStateError, match="no journal"):
        audit.audit_journal(settings)
    with pytest.raises(MissingStateError, match="no journal"):
        audit.replay_order(settings, "al-0")


def test_a_journal_that_is_gone_is_reported(traded: Settings) -> None:
    """Where anchors say that there was a journal, its absence is found and not taken for a fresh start."""
    traded.paths.journal.unlink()
    (report,) = audit.audit_journal(traded)
    assert not report.ok
    assert "is gone" in str(report.problem)
    with pytest.raises(DamagedStoreError, match="is gone or empty"):
        audit.order_ids(traded)


def test_an_unanchored_journal_is_adopted_by_name(traded: Settings) -> None:
    """Records without anchors are vouched for once, with name and reason, and orders are replayed again."""
    traded.paths.anchors.unlink()
    (report,) = audit.audit_journal(traded)
    assert (report.ok, report.unanchored) == (False, report.records)
    with pytest.raises(InputError, match="--reason"):
        audit.adopt_records(traded, "an operator", " ")
    (record,) = audit.adopt_records(traded, "an operator", "the anchors were on a disk that failed")
    assert (record.stream, record.body["by"]) == (audit.TRADING_STREAM, "an operator")
    (report,) = audit.audit_journal(traded)
    assert report.ok
    assert "the anchors were on a disk that failed" in report.adopted[0]
    assert audit.adopt_records(traded, "an operator", "again") == []
    assert audit.replay_order(traded, audit.order_ids(traded)[0])["identical"]


def test_nothing_is_adopted_of_a_journal_that_was_altered(traded: Settings) -> None:
    """Beside a changed record no record is vouched for."""
    traded.paths.anchors.unlink()
    with sqlite3.connect(traded.paths.journal) as connection:
        connection.execute("UPDATE records SET body = '{}' WHERE seq = 3")
    connection.close()
    with pytest.raises(ChainBrokenError, match="nothing was adopted"):
        audit.adopt_records(traded, "an operator", "why")
    assert not traded.paths.anchors.exists()
