"""Corporate actions: adjusted returns are total returns, and no later action changes an earlier value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError
from features.compute.batch import backfill
from features.feature_set import DEFAULT
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.corporate_actions import (
    action_factor,
    actions_known_at,
    apply_actions,
    read_actions,
)
from marketdata.source import close_only_panel
from marketdata.sources.registry import find_source

Apply = Callable[[BarPanel, list[CorporateAction], datetime], BarPanel]
EARLY = datetime(2000, 1, 1, tzinfo=UTC)
START = np.datetime64("2020-03-02T21:00", "ns")


def panel(*closes: list[float], symbols: str = "A") -> BarPanel:
    """Daily bars with these closes, one list a symbol."""
    close = np.array(closes, dtype=float).T
    return close_only_panel(START + np.arange(len(close)) * np.timedelta64(1, "D"), tuple(symbols), close)


def moment(bars: BarPanel, row: int) -> datetime:
    """When bar `row` closes."""
    return to_datetime(bars.timestamps[row])


def action(kind: str, value: float, bars: BarPanel, row: int, **others: object) -> CorporateAction:
    """An action of A, ex at bar `row`, published long before."""
    ex_date = moment(bars, row).date()
    return CorporateAction(**{  # type: ignore[arg-type]
        "symbol": "A", "ex_date": ex_date, "published": EARLY, "kind": kind, "value": value, **others,
    })  # fmt: skip


def adjusted(bars: BarPanel, *actions: CorporateAction, as_of: datetime | None = None) -> list[float]:
    """Adjusted closes of the first symbol."""
    known = apply_actions(bars, actions, as_of or moment(bars, len(bars) - 1))
    return known.adjusted_close[:, 0].tolist()


def test_a_split_leaves_the_return_that_holders_had() -> None:
    """Over a 2:1 split at 100 and a next close of 51, a holder made 2 %, and so does the adjusted price."""
    bars = panel([98.0, 100.0, 51.0, 52.0])
    prices = adjusted(bars, action("split", 2.0, bars, 2))
    assert prices == [98.0, 100.0, 102.0, 104.0]
    reverse = panel([1.0, 1.0, 10.5])
    assert adjusted(reverse, action("split", 0.1, reverse, 2)) == pytest.approx([1.0, 1.0, 1.05])


def test_a_dividend_is_reinvested_at_the_price_without_it() -> None:
    """Two dollars on a share of 100 buy 2/98 of a share: at 99 the holder has 99 * (1 + 2/98)."""
    bars = panel([97.0, 100.0, 99.0, 99.0])
    before, after = adjusted(bars, action("cash_dividend", 2.0, bars, 2))[1:3]
    assert after / before == pytest.approx(99 * (1 + 2 / 98) / 100, rel=1e-15)
    # CRSP's holding period return leaves the cash idle: apart by the dividend's return that day.
    assert after / before - 1 == pytest.approx((99 + 2) / 100 - 1, abs=2 / 100 * 2 / 98)


def test_stock_dividends_and_spin_offs_count_by_their_terms() -> None:
    """5 % in shares multiplies by 1.05; a spin-off worth 20 of 100 leaves 80 that count as 100."""
    bars = panel([100.0, 80.0])
    assert adjusted(bars, action("spin_off", 20.0, bars, 1)) == pytest.approx([100.0, 100.0])
    assert adjusted(bars, action("stock_dividend", 0.05, bars, 1)) == pytest.approx([100.0, 84.0])


def test_actions_of_one_day_are_one_event() -> None:
    """A dividend per old share and a split of one day leave (100 - 2) / 2; two dividends add up."""
    bars = panel([100.0, 49.0])
    both = [action("split", 2.0, bars, 1), action("cash_dividend", 2.0, bars, 1)]
    for order in (both, both[::-1]):
        assert adjusted(bars, *order) == pytest.approx([100.0, 100.0], rel=1e-15)
    bars = panel([100.0, 97.0])
    two = [action("cash_dividend", value, bars, 1) for value in (1.0, 2.0)]
    assert adjusted(bars, *two) == pytest.approx([100.0, 100.0], rel=1e-15)


def test_an_action_counts_though_its_symbol_has_no_bar_that_day() -> None:
    """Ex on a day without trades, the factor stands at the next bar, from the last close before."""
    bars = panel([100.0, np.nan, 49.0], [5.0, 5.0, 5.0], symbols="AB")
    assert adjusted(bars, action("split", 2.0, bars, 1))[::2] == [100.0, 98.0]
    known = apply_actions(bars, [action("split", 2.0, bars, 1)], moment(bars, 2))
    assert known.adjustment.tolist() == [[1.0, 1.0], [2.0, 1.0], [2.0, 1.0]]


def test_the_adjustment_begins_at_one() -> None:
    """What happened before a symbol's first bar has no part in its adjustment."""
    bars = panel([np.nan, 50.0, 51.0])
    for kind in ("split", "cash_dividend"):
        assert adjusted(bars, action(kind, 2.0, bars, 1))[1:] == [50.0, 51.0]


def test_an_action_is_unknown_until_it_is_published() -> None:
    """Published late, a split is seen by no earlier view, and by later ones back to its ex-date."""
    bars = panel([100.0, 50.0, 50.0, 50.0])
    late = action("split", 2.0, bars, 1, published=moment(bars, 2) + timedelta(hours=1))
    assert adjusted(bars, late, as_of=moment(bars, 2)) == [100.0, 50.0, 50.0]
    assert adjusted(bars, late, as_of=moment(bars, 3)) == [100.0, 100.0, 100.0, 100.0]


def test_a_later_publication_replaces_an_earlier_one() -> None:
    """Under one identifier another value, another day, and a cancellation hold once published."""
    bars = panel([100.0, 99.0, 98.0, 98.0])
    first = action("cash_dividend", 1.0, bars, 1, identifier="d1")
    corrected = replace(first, value=2.0, published=moment(bars, 2))
    cancelled = replace(first, value=0.0, published=moment(bars, 3))
    actions = [cancelled, first, corrected]
    assert adjusted(bars, *actions, as_of=moment(bars, 1))[1] == pytest.approx(100.0)
    assert adjusted(bars, *actions, as_of=moment(bars, 2))[1] == pytest.approx(99 * 100 / 98)
    assert adjusted(bars, *actions, as_of=moment(bars, 3)) == [100.0, 99.0, 98.0, 98.0]
    moved = replace(first, ex_date=moment(bars, 3).date(), published=moment(bars, 2))
    assert [one.ex_date for one in actions_known_at([first, moved], moment(bars, 3))] == [moved.ex_date]


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    """In a market that never closes, the bar that ends as the ex-date begins is still with the right."""
    bars = replace(panel([100.0, 100.0, 50.0]), timestamps=np.array(
        ["2020-03-01", "2020-03-02", "2020-03-03"], dtype="datetime64[ns]"))  # fmt: skip
    split = replace(action("split", 2.0, bars, 0), ex_date=date(2020, 3, 2))
    assert adjusted(bars, split) == [100.0, 100.0, 100.0]
    sydney = replace(split, timezone="Australia/Sydney")
    assert (split.effective - sydney.effective) == timedelta(hours=11)


def test_a_renamed_company_keeps_its_history() -> None:
    """From a change of symbol on, past and actions stand under the new one and no other."""
    bars = panel([100.0, 50.0, 50.0, np.nan], [7.0, 7.0, np.nan, 51.0], symbols="AB")
    split = action("split", 2.0, bars, 1)
    former = replace(action("split", 3.0, bars, 1), symbol="B")
    change = action("symbol_change", 0.0, bars, 3, new_symbol="B")
    actions = [change, former, split]
    before = apply_actions(bars, actions, moment(bars, 2)).adjusted_close
    np.testing.assert_array_equal(before, [[100.0, 7.0], [100.0, 21.0], [100.0, np.nan]])
    after = apply_actions(bars, actions, moment(bars, 3)).adjusted_close
    np.testing.assert_array_equal(after, [[np.nan, 100.0]] * 3 + [[np.nan, 102.0]])


def test_real_prices_with_their_real_actions_are_what_the_vendor_adjusted() -> None:
    """Apple as traded, with its splits and dividends, returns what the vendor's adjusted closes do."""
    traded = BarPanel.from_table(find_source("us-tech-ohlcv").history(("AAPL",)))
    bars = replace(traded, adjustment=np.ones_like(traded.adjustment))
    events = [
        ("split", 2.0, date(2000, 6, 21)), ("split", 2.0, date(2005, 2, 28)),
        *(("cash_dividend", 2.65, day) for day in (date(2012, 8, 9), date(2012, 11, 7), date(2013, 2, 7))),
    ]  # fmt: skip
    actions = [CorporateAction("AAPL", day, EARLY, kind, value) for kind, value, day in events]  # type: ignore[arg-type]
    ours = apply_actions(bars, actions, moment(bars, len(bars) - 1)).adjustment
    assert ours[-1, 0] == pytest.approx(4.0 * 1.0152, abs=0.005)
    # Adjusted closes are kept to the cent, which is up to 0.2 % of Apple's lowest.
    np.testing.assert_allclose(ours, traded.adjustment, rtol=4e-3)


def test_impossible_actions_are_refused() -> None:
    """Each value that cannot be is refused with the action's name, kind and day."""
    good = CorporateAction("A", date(2020, 3, 3), EARLY, "cash_dividend", 1.0)
    for change, word in [
        ({"symbol": ""}, "names its symbol"),
        ({"kind": "merger"}, "known: split"),
        ({"ex_date": EARLY}, "give a date"),
        ({"published": datetime(2020, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"timezone": "Mars/Olympus"}, "America/New_York"),
        ({"value": float("nan")}, "finite"),
        ({"value": -1.0}, "below 0"),
        ({"kind": "split", "value": 0.0}, "above 0"),
        ({"kind": "delisting", "value": -1.5}, "-1 or more"),
        ({"currency": ""}, "currency"),
        ({"new_symbol": "B"}, "symbol change"),
        ({"kind": "symbol_change", "value": 0.0}, "symbol change"),
    ]:
        with pytest.raises(DataError, match=word):
            replace(good, **change)  # type: ignore[arg-type]


def test_a_distribution_above_the_price_or_in_other_money_is_refused() -> None:
    """A dividend that is not below the last close, or in another currency than the prices, names itself."""
    bars = panel([1.0, 1.0])
    with pytest.raises(DataError, match=r"cash_dividend of A on 2020-03-03: 1\.0 USD a share is not below"):
        adjusted(bars, action("cash_dividend", 1.0, bars, 1))
    dividend = action("cash_dividend", 0.1, bars, 1, currency="EUR")
    with pytest.raises(DataError, match="is in EUR, and its prices in USD"):
        apply_actions(bars, [dividend], moment(bars, 1), {"A": "USD"})
    assert action_factor(action("delisting", -1.0, bars, 1), 5.0) == 1.0


def test_adjusted_bars_are_not_adjusted_again() -> None:
    """Bars with an adjustment of their own are refused, so no action counts twice."""
    bars = panel([100.0, 50.0])
    split = [action("split", 2.0, bars, 1)]
    with pytest.raises(DataError, match="bars of A are adjusted already"):
        apply_actions(apply_actions(bars, split, moment(bars, 1)), split, moment(bars, 1))


# -- no later action changes an earlier value ------------------------------------------------------


def actions_of(bars: BarPanel) -> st.SearchStrategy[list[CorporateAction]]:
    """Any actions of these symbols, published before, on and after their ex-dates."""

    def made(symbol: str, row: int, delay: int, kind_value: tuple[str, float], name: str) -> CorporateAction:
        ex_date = moment(bars, row).date()
        published = datetime.combine(ex_date, datetime.min.time(), UTC) + timedelta(hours=12 * delay)
        return CorporateAction(symbol, ex_date, published, *kind_value, identifier=name)  # type: ignore[arg-type]

    values = st.one_of(
        st.tuples(st.just("split"), st.sampled_from([0.5, 1.5, 2.0, 3.0])),
        st.tuples(st.just("stock_dividend"), st.floats(0.01, 0.5)),
        st.tuples(st.sampled_from(["cash_dividend", "spin_off"]), st.floats(0.0, 0.1)),
    )
    rows = st.integers(0, len(bars) - 1)
    one = st.builds(
        made,
        st.sampled_from(bars.symbols),
        rows,
        st.integers(-60, 60),
        values,
        st.sampled_from(["", "x", "y"]),
    )
    return st.lists(one, max_size=6)


def forward(bars: BarPanel, actions: list[CorporateAction], as_of: datetime) -> BarPanel:
    """What this room does."""
    return apply_actions(bars, actions, as_of)


def backward(bars: BarPanel, actions: list[CorporateAction], as_of: datetime) -> BarPanel:
    """What many vendors do: the last price stays, earlier ones are divided by all later factors."""
    known = apply_actions(bars, actions, moment(bars, len(bars) - 1))
    return replace(known, adjustment=known.adjustment / known.adjustment[-1]).between(end=as_of)


def leaks(
    adjust: Apply, bars: BarPanel, actions: list[CorporateAction], others: list[CorporateAction], row: int
) -> bool:
    """Whether prices or default features up to bar `row` depend on which actions are published after it."""
    as_of = moment(bars, row)
    past = [one for one in actions if one.published <= as_of]
    futures = [[one for one in some if one.published > as_of] for some in (actions, others)]
    views = [adjust(bars, past + future, as_of) for future in futures]
    prices = [view.adjusted_close for view in views]
    values = [backfill(view, DEFAULT).values for view in views]
    return not all(np.array_equal(one, other, equal_nan=True) for one, other in (prices, values))


@settings(max_examples=60)
@given(data=st.data())
def test_no_action_published_later_changes_a_price_or_a_feature(
    real_bars: BarPanel, data: st.DataObject
) -> None:
    """Whatever else is published after t, adjusted prices and features up to t keep their bits."""
    some, others = data.draw(actions_of(real_bars)), data.draw(actions_of(real_bars))
    assert not leaks(forward, real_bars, some, others, data.draw(st.integers(255, 480)))


def test_back_adjustment_would_leak(real_bars: BarPanel) -> None:
    """The same question, put to back-adjusted prices, finds a split of next year in this year's prices."""
    ex_date = moment(real_bars, 480).date()
    split = CorporateAction("AAPL", ex_date, moment(real_bars, 470), "split", 3.0)
    assert leaks(backward, real_bars, [split], [], 300)
    assert not leaks(forward, real_bars, [split], [], 300)
    apart = [backward(real_bars, known, moment(real_bars, 300)).adjusted_close for known in ([split], [])]
    np.testing.assert_allclose(apart[0][:, 0] * 3, apart[1][:, 0])


def test_adjustments_grow_forward_alone(real_bars: BarPanel) -> None:
    """Cutting the future off leaves every adjustment before as it was."""
    rows = (100, 200, 300)
    actions = [
        CorporateAction("AAPL", moment(real_bars, row).date(), EARLY, kind, value)  # type: ignore[arg-type]
        for row, kind, value in zip(
            rows, ("split", "cash_dividend", "stock_dividend"), (4.0, 0.7, 0.1), strict=True
        )
    ]
    whole = apply_actions(real_bars, actions, moment(real_bars, 502)).adjustment
    assert len(np.unique(whole[:, 0])) == 4
    for row in (99, 100, 250, 400):
        np.testing.assert_array_equal(
            apply_actions(real_bars, actions, moment(real_bars, row)).adjustment, whole[: row + 1]
        )


# -- files -----------------------------------------------------------------------------------------

ROWS = """symbol,ex_date,published,kind,value,currency
AAPL,2020-08-31,2020-07-30T20:30:00Z,split,4,
KO,2020-09-14,2020-07-16T13:00:00+00:00,cash_dividend,0.41,USD
"""


def test_actions_are_read_from_files(tmp_path: Path) -> None:
    """The same actions come from CSV, TOML and Parquet, with defaults where a cell is empty."""
    (tmp_path / "a.csv").write_text(ROWS)
    actions = read_actions(tmp_path / "a.csv")
    assert actions[0] == CorporateAction(
        "AAPL", date(2020, 8, 31), datetime(2020, 7, 30, 20, 30, tzinfo=UTC), "split", 4.0
    )
    assert actions[1].value == 0.41
    (tmp_path / "a.toml").write_text(
        "[[action]]\nsymbol='AAPL'\nex_date=2020-08-31\npublished=2020-07-30T20:30:00Z\nkind='split'\nvalue=4\n"
        "[[action]]\nsymbol='KO'\nex_date='2020-09-14'\npublished='2020-07-16T13:00:00Z'\n"
        "kind='cash_dividend'\nvalue=0.41\n"
    )
    assert read_actions(tmp_path / "a.toml") == actions
    rows = [{"symbol": one.symbol, "ex_date": one.ex_date, "published": one.published, "kind": one.kind,
             "value": one.value, "currency": None} for one in actions]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "a.parquet")
    assert read_actions(tmp_path / "a.parquet") == actions[1:]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("KO,2020-09-31,2020-07-16T13:00Z,split,2,USD", "row 1, 'ex_date' is '2020-09-31'; give a date"),
        ("KO,2020-09-14,2020-07-16T13:00,split,2,USD", "'published' is .* a moment with its time zone"),
        ("KO,2020-09-14,yesterday,split,2,USD", "'published' is 'yesterday'"),
        ("KO,2020-09-14,,split,2,USD", "row 1: 'published' is missing"),
        ("KO,2020-09-14,2020-07-16T13:00Z,merger,2,USD", "'kind' is 'merger'; known: split"),
        ("KO,2020-09-14,2020-07-16T13:00Z,split,two,USD", "'value' is 'two'; give a number"),
        ("KO,2020-09-14,2020-07-16T13:00Z,split,nan,USD", "'value' is 'nan'; give a number"),
        ("KO,2020-09-14,2020-07-16T13:00Z,split,-2,USD", "row 1: split of KO on 2020-09-14: value is -2"),
        ("KO,2020-09-14,2020-07-16T13:00Z,split,2", "row 1 has 5 cells, and there are 6"),
        (",2020-09-14,2020-07-16T13:00Z,split,2,USD", "'symbol' is missing"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, cells: str, message: str) -> None:
    """A row that is no corporate action is refused with file, row, column, value and what is expected."""
    path = tmp_path / "actions.csv"
    path.write_text(ROWS.splitlines()[0] + "\n" + cells + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_actions(path)
    assert str(path) in str(caught.value)
