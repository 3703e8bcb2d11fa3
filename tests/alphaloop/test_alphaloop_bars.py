"""The market: impossible bars are refused, and rows and matrices are two views of the same bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloop.bars import BARS_SCHEMA, Bar, BarPanel, to_datetime, to_datetime64
from alphaloop.instruments import Instrument

START = np.datetime64("2019-01-02T21:00", "ns")
COLUMNS = ("open", "high", "low", "close", "volume", "adjustment")

matrices = st.tuples(st.integers(1, 6), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0.01, 1e6) | st.just(np.nan))
)


def panel(close: np.ndarray, names: tuple[str, ...] | None = None) -> BarPanel:
    """Bars with the given closes; the other columns derive from them so that each is recognisable."""
    count, width = close.shape
    return BarPanel(
        timestamps=START + np.arange(count) * np.timedelta64(1, "D"),
        symbols=names or tuple(f"S{index}" for index in range(width))[::-1],
        open=close * 2,
        high=close * 3,
        low=close / 2,
        close=close,
        volume=np.where(close > 1, close, np.nan),
        adjustment=np.full(close.shape, 0.5),
    )


@given(matrices)
def test_a_panel_survives_the_way_through_rows(close):
    """Rows keep the schema, their order and every value; what has no close has no row."""
    bars = panel(close)
    table = bars.to_table()
    assert table.schema == BARS_SCHEMA
    assert table.num_rows == np.isfinite(close).sum()
    keys = list(zip(table["timestamp"].to_pylist(), table["symbol"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    again = BarPanel.from_table(table, bars.symbols)
    kept = np.isfinite(close).any(axis=1)
    np.testing.assert_array_equal(again.timestamps, bars.timestamps[kept])
    for name in COLUMNS:
        expected = np.where(np.isfinite(close), getattr(bars, name), np.nan)[kept]
        np.testing.assert_array_equal(getattr(again, name), expected)


@given(matrices)
def test_slices_stack_back_to_the_panel(close):
    """Bar by bar is the same as all at once."""
    bars = panel(close)
    again = BarPanel.from_slices(list(bars.slices()))
    assert again.symbols == bars.symbols
    np.testing.assert_array_equal(again.timestamps, bars.timestamps)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(bars, name))
    np.testing.assert_array_equal(bars.at(0).adjusted_close, bars.adjusted_close[0])
    np.testing.assert_array_equal(bars.adjusted_close, close * 0.5)
    assert bars.at(0).to_table().num_rows == np.isfinite(close[0]).sum()


def test_rows_in_any_order_are_aligned_and_foreign_symbols_left_out():
    """Shuffled rows give the same matrix; symbols that were not asked for do not appear."""
    bars = panel(np.arange(1.0, 7.0).reshape(3, 2), ("B", "A"))
    table = bars.to_table()
    shuffled = table.take(pa.array([5, 0, 3, 2, 4, 1]))
    np.testing.assert_array_equal(BarPanel.from_table(shuffled).close, bars.select(("A", "B")).close)
    only = BarPanel.from_table(shuffled, ("B", "C"))
    np.testing.assert_array_equal(only.close[:, 0], bars.close[:, 0])
    assert np.isnan(only.close[:, 1]).all()


def test_between_takes_both_ends_and_select_keeps_the_order_asked_for():
    """A range includes its ends, an open end means all, and an unknown symbol is an error."""
    bars = panel(np.arange(1.0, 11.0).reshape(5, 2), ("A", "B"))
    second, fourth = bars.at(1).timestamp, bars.at(3).timestamp
    assert len(bars.between(second, fourth)) == 3
    assert len(bars.between(end=second)) == 2
    assert len(bars.between(start=fourth + timedelta(hours=1))) == 1
    assert len(bars.between()) == 5
    np.testing.assert_array_equal(bars.select(("B", "A")).close, bars.close[:, ::-1])
    with pytest.raises(KeyError, match="C"):
        bars.select(("C",))


def test_what_else_is_known_of_bars_travels_with_them():
    """Further columns, who gave each bar and what is disputed survive slices, tables and selections."""
    plain = panel(np.arange(1.0, 7.0).reshape(3, 2), ("A", "B"))
    bars = replace(
        plain,
        extra={"sentiment": np.arange(6.0).reshape(3, 2)},
        providers=np.array([["x", "y"]] * 3, dtype=object),
        disputed=np.array([[False, False], [False, True], [False, False]]),
    )
    for again in (
        BarPanel.from_table(bars.to_table()),
        BarPanel.from_slices(list(bars.slices())),
        bars.select(("B", "A")).select(("A", "B")),
    ):
        np.testing.assert_array_equal(again.extra["sentiment"], bars.extra["sentiment"])
        np.testing.assert_array_equal(again.providers, bars.providers)
        np.testing.assert_array_equal(again.disputed, bars.disputed)
    both = plain.then(bars)
    assert len(both) == 2 * len(plain)
    assert both.at(4).providers == ("x", "y")
    assert both.at(4).disputed == ("B",)
    assert both.at(0).providers == ("", "")
    assert np.isnan(both.extra["sentiment"][:3]).all()
    assert bars.at(1).providers == ("x", "y")
    assert bars.at(1).disputed == ("B",)
    assert bars.at(1).extra["sentiment"].tolist() == [2.0, 3.0]
    assert plain.to_table().schema.names == BARS_SCHEMA.names
    assert plain.at(0).providers == plain.at(0).disputed == ()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"close": 0.0}, "close is 0.0"),
        ({"close": float("nan")}, "close is nan"),
        ({"open": -1.0}, "open is -1.0"),
        ({"high": 1.0, "low": 2.0}, "high 1.0 is below low 2.0"),
        ({"volume": -1.0}, "volume is -1.0"),
        ({"timestamp": datetime(2020, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_a_bar_that_no_market_can_print_is_refused(wrong, named):
    """The error names the field and its value."""
    good = {"symbol": "A", "timestamp": datetime(2020, 1, 1, tzinfo=UTC), "close": 1.5}
    assert Bar(**good).adjustment == 1.0
    with pytest.raises(ValueError, match=named):
        Bar(**good | wrong)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001
def test_times_survive_numpy(naive, hours):
    """An aware time in any zone is the same moment after numpy, in UTC."""
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    again = to_datetime(to_datetime64(moment))
    assert again == moment
    assert again.tzinfo is UTC


def test_an_instrument_has_a_tick_and_a_lot():
    """Without more being said, prices step by a cent and quantities by a ten-thousandth."""
    assert (Instrument("A").tick, Instrument("A").lot) == (Decimal("0.01"), Decimal("0.0001"))
