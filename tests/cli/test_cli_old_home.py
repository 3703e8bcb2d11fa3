"""A home made by the version before rules had numbers goes on: bars, book, journal, model.

`tests/data/home_of_rule_1.tar.xz` was made by that version on six stocks of sp500-20:
`features build --until 2018-12-31`, `train momentum`, `features materialize`, and then
`trade --replay 2019-01-02:2019-01-09`, which was killed when it had booked the fills of 2019-01-07 and had
not decided that bar. Feast's stores, the prediction log and the drift monitor's files are left out.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings, load_settings
from cli import main
from cli.commands import trade
from features.compute.batch import backfill
from features.feature_set import feature_set_of
from loop import audit
from marketdata.storage.snapshots import SnapshotStore
from models.registry.model_registry import Registry
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.recovery import restore_engine
from trading.risk.risk_check import RiskCheck

KEPT = Path(__file__).parents[1] / "data" / "home_of_rule_1.tar.xz"
SYMBOLS = ("AAPL", "AMD", "GE", "JPM", "KO", "WMT")
REPLAY = "2019-01-02:2019-01-09"
DECIDED = "2019-01-04"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the kept home, unpacked."""
    with tarfile.open(KEPT) as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.setenv("ALPHALOOP_DATA__SYMBOLS", json.dumps(SYMBOLS))
    return load_settings(home=tmp_path)


def journaled(home: Settings) -> list[tuple[str, dict]]:
    """Kind and body of every record of trading, read as text and not by the journal's code."""
    connection = sqlite3.connect(home.paths.journal)
    rows = connection.execute(
        "SELECT kind, body FROM records WHERE stream = 'trading' ORDER BY seq"
    ).fetchall()
    connection.close()
    return [(kind, json.loads(body)) for kind, body in rows]


def test_an_old_journal_is_whole_and_its_orders_follow(home):
    """Anchors without announcements still vouch for every record, and each order is decided again."""
    assert [(chain.stream, chain.ok) for chain in audit.audit_journal(home)] == [
        ("control", True),
        ("trading", True),
    ]
    orders = audit.order_ids(home)
    assert len(orders) == 12
    replayed = [audit.replay_order(home, one) for one in orders]
    assert {(one["identical"], one["decision"]["rule"]) for one in replayed} == {(True, 1)}


def test_an_old_run_goes_on_with_the_bar_that_it_did_not_decide(home):
    """The same command takes up the bar that was stored, booked and not decided, on the stored data."""
    market = trade._market(home, REPLAY)
    assert [str(time)[:10] for time in market.future.timestamps] == ["2019-01-07", "2019-01-08", "2019-01-09"]
    assert str(market.past.timestamps[-1])[:10] == DECIDED
    (answered,) = [
        body["answers"][0]["snapshot"]
        for kind, body in journaled(home)
        if kind == "decision" and body["as_of"].startswith(DECIDED)
    ]
    assert market.snapshot.id == answered
    assert (market.snapshot.rows, len(market.past)) == (len(SYMBOLS) * len(market.past), 4782)


def test_an_old_book_is_the_same_to_the_last_digit(home):
    """Cash and quantities of each sleeve are those of the last decision and the fills booked after it."""
    rows = journaled(home)
    last = max(place for place, (kind, _) in enumerate(rows) if kind == "decision")
    decision = rows[last][1]
    cash = [Decimal(one) for one in decision["cash"]]
    held = [[Decimal(one) for one in row] for row in decision["quantities"]]
    fills = [body for kind, body in rows[last:] if kind == "fill"]
    assert len(fills) == 3
    for fill in fills:
        column = SYMBOLS.index(fill["symbol"])
        for sleeve, (quantity, cost) in enumerate(zip(fill["quantities"], fill["costs"], strict=True)):
            cash[sleeve] -= Decimal(quantity) * Decimal(fill["price"]) + Decimal(cost)
            held[sleeve][column] += Decimal(quantity)
    market = trade._market(home, REPLAY)
    clock = ReplayClock(to_datetime(market.past.timestamps[-1]))
    with (
        Journal(home.paths.journal, home.paths.anchors, clock) as journal,
        journal.writer("trading") as writer,
    ):
        engine = TradingEngine(
            SYMBOLS,
            PaperBroker(CostModel()),
            ArrayForecaster(market.past.timestamps[:0], SYMBOLS, np.empty((0, len(SYMBOLS)))),
            AllocationStrategy(),
            RiskCheck(),
            CostModel(),
            sleeves=tuple(decision["sleeves"]),
            capital=1_000_000,
            clock=clock,
            journal_writer=writer,
            simulated=True,
        )
        assert restore_engine(engine, journal.records("trading"), market.past) == []
    assert [book.cash for book in engine.portfolio.books] == cash
    assert [book.quantities for book in engine.portfolio.books] == held
    assert (decision["as_of"][:10], decision["equity"]) == (DECIDED, "1030603.842144000000")
    assert engine.last is not None
    assert engine.last.equity == Decimal(decision["equity"])


def test_an_old_model_scores_as_it_did(home):
    """The stored model on features of the stored bars gives the scores that were journaled then."""
    import onnxruntime

    registry = Registry(home.paths.registry)
    document = registry.rollout("equities")
    assert document is not None
    assert document.champion == "1"
    features = feature_set_of(home)
    assert registry.card("equities", "1").feature_set == features.hash
    session = onnxruntime.InferenceSession(registry.onnx("equities", "1"))
    (answer,) = [body for kind, body in journaled(home) if kind == "decision"][-1]["answers"]
    bars = BarPanel.from_table(SnapshotStore(home.paths.snapshots).load(answer["snapshot"]))
    panel = backfill(bars, features).values[-1][:, None, :]
    (scores,) = session.run(None, {"panel": np.ascontiguousarray(panel, dtype=np.float32)})
    np.testing.assert_allclose(scores, answer["scores"], rtol=1e-6)


@pytest.mark.parametrize(
    ("database", "command", "named"),
    [
        ("journal/journal.db", ["rollout", "status"], "made by a newer release of alphaloop"),
        ("registry/mlflow.db", ["models", "list"], "made by another release of MLflow"),
    ],
)
def test_a_home_of_a_newer_release_is_refused_in_one_line(
    home: Settings,
    database: str,
    command: list[str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line names the file and the way out, the exit code is 2, and the database is left as it was."""
    path = home.home / database
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = path.read_bytes()
    monkeypatch.setenv("ALPHALOOP_HOME", str(home.home))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    assert main.run_command(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(path) in line and named in line and "install" in line
    assert path.read_bytes() == before
