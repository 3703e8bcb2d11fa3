"""Instruments: orders are whole lots, fills are on the tick, and a journal replays to the same orders."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.costs import CostModel
from alphaloop.errors import AlphaloopError, VendorError
from alphaloop.instruments import Instrument
from alphaloop.orders import Order, Side
from alphaloop.settings.trading import TradingSettings
from marketdata.point_in_time.reference_data import ReferenceData
from trading.broker import open_broker
from trading.brokers.paper import PaperBroker
from trading.execution.instrument_terms import NO_TERMS, InstrumentTerms
from trading.execution.netting import LOT, round_to_lot
from trading.redecide import redecide_orders

NOW = datetime(2019, 1, 10, 21, tzinfo=UTC)
CHANGES = datetime(2019, 1, 20, tzinfo=UTC)
SYMBOLS = tuple(f"S{index:02d}" for index in range(5))


def terms(lot: str = "10", tick: str = "0.05", later: str = "") -> InstrumentTerms:
    """Terms of five symbols; with `later` the lot changes on 20 January."""
    versions = [Instrument(symbol, Decimal(tick), Decimal(lot)) for symbol in SYMBOLS]
    if later:
        versions += [
            replace(one, lot=Decimal(later), start=CHANGES, published=CHANGES - timedelta(days=9))
            for one in versions
        ]
    return InstrumentTerms(ReferenceData(versions))


def order(quantity: str, side: Side = Side.BUY) -> Order:
    """An order of the first symbol."""
    return Order(f"al-{quantity}-{side}", "S00", side, Decimal(quantity), NOW, "d")


changes = st.lists(st.integers(-(10**7), 10**7).map(lambda n: Decimal(n) * LOT), min_size=1, max_size=6)


@given(changes, st.sampled_from(["0.0001", "0.001", "0.5", "1", "10", "100"]).map(Decimal))
def test_the_sum_of_changes_is_whole_lots_and_no_change_grows(wanted: list[Decimal], lot: Decimal) -> None:
    """The net is rounded toward zero; each sleeve keeps its side, and what crosses stays."""
    rounded = round_to_lot(wanted, lot)
    net, before = sum(rounded), sum(wanted)
    assert net % lot == 0
    assert abs(before) - lot < abs(net) <= abs(before)
    for one, kept in zip(wanted, rounded, strict=True):
        assert kept == one or (kept * one >= 0 and abs(kept) <= abs(one) and one * before > 0)
    assert all(kept % LOT == 0 for kept in rounded)


def test_every_order_is_whole_lots_and_replays(make_bars: Any, make_rig: Any) -> None:
    """Sleeves that disagree send whole lots only, the books reconcile, and decisions give the same orders."""
    bars, chosen = make_bars(), terms("2", later="3")
    rig = make_rig(bars, broker=PaperBroker(CostModel(), chosen))
    rig.engine._terms = chosen
    outcomes = rig.run(0, 30)
    sent = [one for outcome in outcomes for one in outcome.orders]
    assert {one.decided_at >= CHANGES for one in sent} == {True, False}
    for one in sent:
        assert one.quantity % (3 if one.decided_at >= CHANGES else 2) == 0
    for record, outcome in zip(rig.records("decision"), outcomes, strict=True):
        assert set(record.body["lots"]) == {"3" if outcome.as_of >= CHANGES else "2"}
        assert redecide_orders(record.body) == list(outcome.orders)
    held = {position.symbol: position.quantity for position in rig.engine.portfolio.positions()}
    assert {name: held[name] for name in rig.broker.positions} == rig.broker.positions


def test_without_instruments_nothing_is_journaled_of_them(make_bars: Any, make_rig: Any) -> None:
    """The body of a decision is as before, and orders are of 0.0001."""
    rig = make_rig(make_bars())
    outcomes = rig.run(0, 3)
    assert all("lots" not in record.body for record in rig.records("decision"))
    assert any(one.quantity % 1 for outcome in outcomes for one in outcome.orders)


def test_an_open_order_stays_whole_lots_over_a_split(make_bars: Any, make_rig: Any) -> None:
    """A split of three for two leaves an order that the broker takes again."""
    bars = make_bars()
    adjustment = bars.adjustment.copy()
    adjustment[2:, 0] = 1.5
    close = bars.close.copy()
    close[2:, 0] /= 1.5
    close[1, 0] = np.nan
    bars = replace(bars, adjustment=adjustment, close=close)
    rig = make_rig(bars, broker=PaperBroker(CostModel(), terms()))
    rig.engine._terms = terms()
    rig.run(0, 6)
    (action,) = rig.records("corporate_action")
    (left,) = action.body["open"]
    assert sum(map(Decimal, left["wanted"])) % 10 == 0


def test_the_paper_broker_refuses_a_fraction_of_a_lot() -> None:
    """As a venue would; without terms it takes any quantity."""
    with pytest.raises(VendorError, match="15 of S00 is no multiple of its lot, 10; orders are rounded"):
        open_broker("paper", CostModel(), terms()).submit([order("15")])
    open_broker("paper", CostModel(), NO_TERMS).submit([order("0.00005")])


def test_fills_are_on_the_tick_against_the_order(make_bars: Any) -> None:
    """A purchase is filled at the tick above, a sale at the tick below; a tiny price at one tick."""
    bars = make_bars()
    index = int(np.flatnonzero(bars.timestamps > np.datetime64("2019-01-10T21:00"))[0])
    prices = {}
    for side in Side:
        broker = open_broker("paper", CostModel(), terms(tick="0.5"))
        broker.submit([order("10", side)])
        (fill,) = broker.on_bar(bars.at(index))
        prices[side] = fill.price
    assert all(price % Decimal("0.5") == 0 for price in prices.values())
    assert float(prices[Side.SELL]) <= bars.close[index, 0] <= float(prices[Side.BUY])
    assert prices[Side.BUY] - prices[Side.SELL] == Decimal("0.5")
    assert terms().on_tick(Decimal("0.01"), "S00", Side.SELL, NOW) == Decimal("0.05")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("symbol,lot\nS00,1\n", "unknown instrument 'S01, S02, S03, S04'"),
        ("symbol,lot\nS00,-1\n", "instruments.csv: row 1: S00: lot is -1; it must be above 0"),
        ("symbol,lot\nS00,much\n", "instruments.csv: row 1, 'lot' is 'much'; give a number"),
        ("symbol,expiry\nS00,2020-03-20\n", "instruments.csv: row 1: unknown column 'expiry'; known: symbol"),
        ("symbol,lot\nS00,0.00015\n", "the lot of S00 is 0.00015; books count in 0.0001: give a multiple"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, rows: str, says: str) -> None:
    """The message names file, row, value and way out."""
    file = tmp_path / "instruments.csv"
    symbols = SYMBOLS if "unknown" in says else ("S00",)
    file.write_text(rows)
    with pytest.raises(AlphaloopError) as error:
        InstrumentTerms.from_settings(TradingSettings(instruments=str(file)), symbols)
    assert says in str(error.value)
