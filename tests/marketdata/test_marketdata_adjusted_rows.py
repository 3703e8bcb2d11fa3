"""Rows adjusted by what was known at each bar, and the final bars of who was delisted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.adjusted_rows import FINAL_BARS, MIN_FINAL_SHARE, adjust_rows
from marketdata.point_in_time.corporate_actions import apply_actions
from marketdata.source import close_only_panel

FIRST = date(2020, 1, 1)


def moment(day: float) -> datetime:
    """A moment of the market's days: closes are at 21:00."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)


def action(
    kind: str, day: int, value: float, published: float = 0.0, symbol: str = "A", identifier: str = ""
) -> CorporateAction:
    """An action of the `day`-th day, known since the first one unless said otherwise."""
    ex_date = FIRST + timedelta(days=day)
    return CorporateAction(symbol, ex_date, moment(published), kind, value, identifier=identifier)  # type: ignore[arg-type]


def rows(days: int, symbols: tuple[str, ...] = ("A", "B"), last: dict[str, int] | None = None) -> pa.Table:
    """Daily bars at 100, of each symbol up to its last day."""
    times = np.datetime64("2020-01-01T21:00", "ns") + np.arange(days) * np.timedelta64(1, "D")
    close = np.full((days, len(symbols)), 100.0)
    for column, symbol in enumerate(symbols):
        close[(last or {}).get(symbol, days) :, column] = np.nan
    return close_only_panel(times, symbols, close).to_table()


def adjustment(table: pa.Table, actions: list[CorporateAction], symbol: str = "A") -> list[float]:
    """The adjustment of one symbol's bars."""
    panel = BarPanel.from_table(adjust_rows(table, actions))
    return [round(value, 6) for value in panel.adjustment[:, panel.symbols.index(symbol)].tolist()]


def test_a_factor_counts_from_its_ex_date_on() -> None:
    """A split of the fourth day, announced before, doubles its symbol's adjustment from then on."""
    assert adjustment(rows(6), [action("split", 3, 2.0)]) == [1, 1, 1, 2, 2, 2]
    assert adjustment(rows(6), [action("split", 3, 2.0)], "B") == [1] * 6


def test_no_factor_counts_before_it_was_published() -> None:
    """A split that is published two days late changes the adjustment only then."""
    assert adjustment(rows(7), [action("split", 2, 2.0, published=4.5)]) == [1, 1, 1, 1, 2, 2, 2]


def test_a_revision_counts_from_its_publication_on() -> None:
    """A ratio is corrected, and a dividend cancelled, for the bars after the correction alone."""
    split = [action("split", 2, 2.0, identifier="x"), action("split", 2, 4.0, 4.5, identifier="x")]
    assert adjustment(rows(7), split) == [1, 1, 2, 2, 4, 4, 4]
    paid = [
        action("cash_dividend", 2, 20.0, identifier="y"),
        action("cash_dividend", 2, 0.0, 4.5, identifier="y"),
    ]
    assert adjustment(rows(7), paid) == [1, 1, 1.25, 1.25, 1, 1, 1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["split", "cash_dividend"]),
            st.integers(1, 9),
            st.floats(0.5, 4),
            st.integers(0, 11),
        ),
        max_size=5,
        unique_by=lambda one: one[1],
    )
)
def test_at_every_bar_the_adjustment_is_what_was_known_then(
    given_actions: list[tuple[str, int, float, int]],
) -> None:
    """It equals that of `apply_actions` as of the bar, whatever is published late, and never looks ahead."""
    table = rows(10)
    actions = [action(kind, day, value, published) for kind, day, value, published in given_actions]
    known = BarPanel.from_table(adjust_rows(table, actions))
    raw = BarPanel.from_table(table)
    for index in range(len(raw)):
        then = apply_actions(raw, actions, to_datetime(raw.timestamps[index]))
        np.testing.assert_allclose(known.adjustment[index], then.adjustment[index], rtol=1e-12)


def test_a_delisting_closes_the_series_at_what_holders_received() -> None:
    """After the last trade follow a month of bars at the final price, with the adjustment of then."""
    table = rows(40, last={"A": 10})
    delisted = adjust_rows(table, [action("split", 3, 2.0), action("delisting", 10, -0.3)])
    panel = BarPanel.from_table(delisted)
    np.testing.assert_allclose(panel.close[9:12, 0], [100.0, 70.0, 70.0])
    np.testing.assert_allclose(panel.adjustment[9:12, 0], 2.0)
    assert np.isfinite(panel.close[:, 0]).sum() == 10 + FINAL_BARS
    assert np.isnan(panel.volume[10:, 0]).all()
    assert delisted["timestamp"].to_pylist() == sorted(delisted["timestamp"].to_pylist())


def test_a_share_that_became_worthless_keeps_a_price_above_zero() -> None:
    """Nothing for holders is a ten-thousandth of the last close."""
    panel = BarPanel.from_table(adjust_rows(rows(20, last={"A": 10}), [action("delisting", 10, -1.0)]))
    assert panel.close[10, 0] == pytest.approx(100 * MIN_FINAL_SHARE)


def test_a_delisting_that_is_published_late_closes_the_series_then() -> None:
    """Until its publication the symbol has no bar; the market did not know more."""
    panel = BarPanel.from_table(adjust_rows(rows(20, last={"A": 10}), [action("delisting", 10, -0.5, 13.5)]))
    assert np.isnan(panel.close[10:13, 0]).all()
    assert panel.close[13, 0] == 50.0


def test_actions_that_do_not_fit_are_refused() -> None:
    """Adjusted bars, a dividend above the price, a bar after the delisting, a new symbol."""
    table = rows(6)
    index = table.schema.get_field_index("adjustment")
    adjusted = table.set_column(index, table.schema.field(index), pa.array([2.0] * len(table)))
    for bars, one, says in (
        (
            adjusted,
            action("split", 3, 2.0),
            "the bars of A are adjusted already; leave its corporate actions",
        ),
        (table, action("cash_dividend", 3, 200.0), "is not below the close before it, 100.0; mend"),
        (table, action("delisting", 3, -1.0), "after its delisting on 2020-01-04; mend the date"),
        (
            table,
            CorporateAction("A", FIRST, moment(0), "symbol_change", new_symbol="C"),
            "A becomes C on 2020-01-01; name its bars C throughout",
        ),
    ):
        with pytest.raises(DataError, match=says.replace(".", r"\.")):
            adjust_rows(bars, [one])
