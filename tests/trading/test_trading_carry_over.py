"""A book goes on over other symbols and sleeves: by itself where no money moves, else by a record."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from alphaloop.costs import CostModel
from alphaloop.errors import InputError
from alphaloop.sleeve_plan import sleeve_names
from trading.carry_over import CARRIED_KIND, book_state_from_body, carry_over
from trading.recovery import recover_book, restore_engine
from trading.redecide import redecide_orders

COSTS = CostModel(commission_bps=1.0, half_spread_bps=4.0)


def _over(bars, symbols):
    """`bars` of `symbols`; one that is not there gets the closes of the first."""
    columns = [bars.symbols.index(one) if one in bars.symbols else 0 for one in symbols]
    changed = {
        name: getattr(bars, name)[:, columns]
        for name in ("open", "high", "low", "close", "volume", "adjustment")
    }
    return replace(bars, symbols=symbols, **changed)


def _moved(rig, make_rig, symbols, name, sleeves=4):
    """A rig over `symbols`, with a broker of its own, that has the journal of `rig`."""
    other = make_rig(_over(rig.bars, symbols), name=name, sleeves=sleeves, limits=rig.limits)
    other.journal.close()
    other.journal, other.clock = rig.journal, rig.clock
    return other


def _held(portfolio):
    return {one.symbol: one.quantity for one in portfolio.positions() if one.quantity}


def test_a_symbol_more_goes_on_with_the_book(make_bars, make_rig):
    """The books are those of before, the open orders are sent again, and the new symbol is bought in time."""
    rig = make_rig(make_bars(count=12))
    rig.run(0, 4)
    symbols = ("S00", "NEW", "S01", "S02", "S03", "S04")
    wider = _moved(rig, make_rig, symbols, "wider")
    sent = restore_engine(wider.start(), rig.records())
    assert {one.client_order_id for one in sent} == set(rig.engine.portfolio.working)
    assert _held(wider.engine.portfolio) == _held(rig.engine.portfolio)
    assert wider.engine.portfolio.equity(wider.engine.prices) == rig.engine.portfolio.equity(
        rig.engine.prices
    )
    wider.run(4, 10)
    assert "NEW" in _held(wider.engine.portfolio)


def test_a_symbol_less_goes_on_where_nothing_is_held_of_it(make_bars, make_rig):
    """Order does not matter either; one that is held is refused, naming the command that carries it over."""
    rig = make_rig(make_bars(count=6))
    rig.run(0, 4)
    wider = _moved(rig, make_rig, ("NEW", *rig.bars.symbols[::-1]), "wider")
    restore_engine(wider.start(), rig.records())
    assert "NEW" not in _held(wider.engine.portfolio)
    narrow = _moved(rig, make_rig, rig.bars.symbols[1:], "narrow")
    with pytest.raises(InputError, match=r"holds or orders S00.*alphaloop book carry"):
        restore_engine(narrow.start(), rig.records())
    assert recover_book(rig.records()).select(("S01",)).portfolio.symbols == ("S01",)


def test_a_held_symbol_is_sold_at_its_last_price(make_bars, make_rig):
    """The equity of before, less five basis points of what was sold, is carried over, and trading goes on."""
    rig = make_rig(make_bars(count=10))
    rig.run(0, 5)
    before = recover_book(rig.records())
    rest = rig.bars.symbols[1:]
    found = carry_over(before, rest, before.portfolio.names, COSTS)
    (sale,) = found.sales
    units, price = _held(before.portfolio)["S00"], Decimal(str(round(rig.bars.close[4, 0], 10)))
    assert (sale.symbol, sale.quantity) == ("S00", units)
    assert float(sale.price) == pytest.approx(float(price))
    assert float(sale.cost) == pytest.approx(float(units * price) * 0.0005, abs=0.05)
    equity = before.portfolio.equity(before.prices)
    assert found.state.last.equity == equity - sale.cost
    assert found.state.portfolio.equity(found.state.prices) == equity - sale.cost
    assert set(found.dropped_orders) >= set(before.portfolio.working)
    rig.writer.append(CARRIED_KIND, found.to_body("ann", "S00 is delisted"))
    narrow = _moved(rig, make_rig, rest, "narrow")
    assert restore_engine(narrow.start(), rig.records()) == []
    assert _held(narrow.engine.portfolio) == {
        name: held for name, held in _held(before.portfolio).items() if name != "S00"
    }
    outcomes = narrow.run(5, 9)
    assert any(outcome.fills for outcome in outcomes)
    again = _moved(rig, make_rig, rest, "again")
    restore_engine(again.start(), rig.records())
    assert again.engine.portfolio.books == narrow.engine.portfolio.books


@pytest.mark.parametrize("count", [3, 7])
def test_another_number_of_sleeves_shares_the_book_out(make_bars, make_rig, count):
    """Nothing is gained or lost to the last digit, sleeves are equal to a lot, and nothing is sold."""
    rig = make_rig(make_bars(count=8))
    rig.run(0, 5)
    before = recover_book(rig.records())
    with pytest.raises(InputError, match=rf"4 sleeves, and trading.sleeves is {count}.*book carry"):
        restore_engine(_moved(rig, make_rig, rig.bars.symbols, "refused", count).start(), rig.records())
    found = carry_over(before, rig.bars.symbols, sleeve_names(count), COSTS)
    assert found.sales == ()
    assert _held(found.state.portfolio) == _held(before.portfolio)
    for name in ("cash", "costs", "traded"):
        totals = [sum(getattr(book, name) for book in one.portfolio.books) for one in (before, found.state)]
        assert totals[0] == totals[1]
    equities = [float(book.equity(before.prices)) for book in found.state.portfolio.books]
    assert max(equities) - min(equities) < 1.0
    rig.journal.writer("trading").append(CARRIED_KIND, found.to_body("ann", "more sleeves"))
    shared = _moved(rig, make_rig, rig.bars.symbols, "shared", count)
    assert restore_engine(shared.start(), rig.records()) == []
    assert len(shared.engine.portfolio.books) == count
    shared.run(5, 7)
    assert len(rig.records("decision")[-1].body["sleeves"]) == count


def test_a_carried_book_is_read_back_as_it_was(make_bars, make_rig):
    """The record holds the whole book, and decisions before it still replay to their orders."""
    rig = make_rig(make_bars(count=6))
    rig.run(0, 4)
    found = carry_over(recover_book(rig.records()), ("S01", "S02"), sleeve_names(2), COSTS)
    body = found.to_body("ann", "smaller")
    read = book_state_from_body(body)
    assert read.portfolio == found.state.portfolio
    assert (read.prices, read.adjustments, read.peak) == (
        found.state.prices, found.state.adjustments, found.state.peak,
    )  # fmt: skip
    rig.writer.append(CARRIED_KIND, body)
    for decision in rig.records("decision"):
        ordered = {
            one.body["client_order_id"]
            for one in rig.records("order")
            if one.body["decision_id"] == decision.body["decision_id"]
        }
        assert {order.client_order_id for order in redecide_orders(decision.body)} == ordered


def test_what_has_no_price_is_not_sold(make_bars, make_rig):
    """A held symbol of which no price is known keeps the book as it is."""
    rig = make_rig(make_bars(count=6))
    rig.run(0, 4)
    state = recover_book(rig.records())
    state.prices[0] = None
    with pytest.raises(InputError, match="no price of S00"):
        carry_over(state, rig.bars.symbols[1:], state.portfolio.names, COSTS)
