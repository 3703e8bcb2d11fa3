"""From an order to the providers whose bars it was decided on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.errors import UnknownNameError
from alphaloop.forecasts import RoutedForecasts
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings, load_settings
from alphaloop.sleeve_plan import sleeve_names
from loop import audit, provenance
from marketdata.source import close_only_panel
from marketdata.storage.snapshots import SnapshotStore
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits

BARS, PAST, SYMBOLS = 12, 4, ("AAA", "BBB", "CCC")


class Stored:
    """Scores whose forecasts name the snapshot that the bar was stored in, as the server's do."""

    def __init__(self, bars: BarPanel) -> None:
        scores = np.random.default_rng(6).normal(size=bars.close.shape)
        self._scores = ArrayForecaster(bars.timestamps, bars.symbols, scores)
        self.snapshot = ""

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        answer = replace(self._scores.forecast(symbols, as_of), snapshot=self.snapshot)
        return RoutedForecasts(dict.fromkeys(sleeves, answer))


def _bars(told: bool) -> BarPanel:
    close = 100 * np.cumprod(1 + np.random.default_rng(5).normal(0, 0.02, (BARS, 3)), axis=0)
    start = np.datetime64("2020-01-02T21:00", "ns")
    bars = close_only_panel(start + np.arange(BARS) * np.timedelta64(1, "D"), SYMBOLS, close)
    if not told:
        return bars
    providers, disputed = np.full(close.shape, "first", dtype=object), np.zeros(close.shape, dtype=bool)
    providers[8:] = "second"
    disputed[9, 1] = True
    return replace(bars, providers=providers, disputed=disputed)


def _trade(home: Path, told: bool) -> Settings:
    """A workspace whose last bars were stored as deltas and traded, as the loop does it."""
    settings, bars = load_settings(home=home), _bars(told)
    clock, costs, forecaster = ReplayClock(datetime(2020, 1, 2, tzinfo=UTC)), CostModel(), Stored(bars)
    store = SnapshotStore(settings.paths.snapshots)
    past = replace(bars.between(end=bars.at(PAST - 1).timestamp), providers=None, disputed=None)
    snapshot = store.save(past.to_table(), "vendor", {"universe": "a" * 64}).id
    with Journal(settings.paths.journal, settings.paths.anchors, clock) as journal:
        engine = TradingEngine(
            symbols=SYMBOLS,
            broker=PaperBroker(costs),
            forecaster=forecaster,
            strategy=AllocationStrategy(),
            risk=RiskCheck(RiskLimits(prediction_deadline_ms=None, max_weight=0.6)),
            costs=costs,
            sleeves=sleeve_names(20),
            capital=1_000_000,
            clock=clock,
            journal_writer=journal.writer(audit.TRADING_STREAM),
            simulated=True,
        )
        for index in range(PAST, BARS):
            one = bars.at(index)
            clock.advance(one.timestamp)
            snapshot = forecaster.snapshot = store.append(snapshot, one.to_table()).id
            engine.on_bar(one)
    return settings


def test_an_order_leads_to_the_providers_of_its_bars_and_features(tmp_path: Path) -> None:
    """The decision names who gave each bar; the snapshot, who gave those that its features were made of."""
    settings = _trade(tmp_path, told=True)
    told = [provenance.order_providers(settings, order) for order in audit.order_ids(settings)]
    first, last = told[0], told[-1]
    assert (first["bar"], last["bar"]) == ("first", "second")
    assert last["bars"] == dict.fromkeys(SYMBOLS, "second")
    (features,) = last["features"].values()
    bar = int((datetime.fromisoformat(last["as_of"]) - datetime(2020, 1, 2, 21, tzinfo=UTC)).days)
    assert features["rows"] == {"vendor": PAST * 3, "first": (8 - PAST) * 3, "second": (bar - 7) * 3}
    assert features["disputed"] == 1
    assert features["records"] == {"universe": ["a" * 64]}
    assert all(one["disputed"] == (["BBB"] if one["as_of"][:10] == "2020-01-11" else []) for one in told)


def test_orders_of_disputed_bars_are_decided_again_to_the_same(tmp_path: Path) -> None:
    """Every order of a journal with providers and disputes replays identically from the journal alone."""
    settings = _trade(tmp_path, told=True)
    assert all(audit.replay_order(settings, order)["identical"] for order in audit.order_ids(settings))
    assert all(chain.ok for chain in audit.audit_journal(settings))


def test_the_stored_bars_are_those_that_were_decided_on(tmp_path: Path) -> None:
    """Read back from the snapshot, each live bar has the provider and mark that its decision journaled."""
    settings = _trade(tmp_path, told=True)
    last = provenance.order_providers(settings, audit.order_ids(settings)[-1])
    (snapshot,) = last["features"]
    stored = BarPanel.from_table(SnapshotStore(settings.paths.snapshots).load(snapshot), SYMBOLS)
    with Journal(settings.paths.journal, settings.paths.anchors, ReplayClock(datetime.now(UTC))) as journal:
        decisions = {one.body["as_of"]: one.body for one in journal.records("trading", "decision")}
    for bars in stored.slices():
        body = decisions.get(bars.timestamp.isoformat())
        if body is not None:
            assert list(bars.providers) == body["providers"]
            assert list(bars.disputed) == body.get("disputed", [])


def test_where_one_source_told_everything_the_snapshot_says_which(tmp_path: Path) -> None:
    """Without providers the journal names none, and the rows are of the snapshot's source."""
    settings = _trade(tmp_path, told=False)
    told = provenance.order_providers(settings, audit.order_ids(settings)[0])
    assert (told["bar"], told["disputed"]) == ("", [])
    assert [one["rows"] for one in told["features"].values()] == [{"vendor": (PAST + 1) * 3}]


def test_an_unknown_order_is_named(tmp_path: Path) -> None:
    """The error names the id."""
    settings = _trade(tmp_path, told=False)
    with pytest.raises(UnknownNameError, match="unknown order 'al-0'"):
        provenance.order_providers(settings, "al-0")
