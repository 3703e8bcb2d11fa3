"""Corporate actions that are told twice count once, and those that contradict each other are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError
from marketdata.connectors.daily_factor import DailyFactor
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.adjusted_rows import adjust_rows
from marketdata.point_in_time.corporate_actions import actions_known_at, apply_actions, read_actions
from marketdata.source import close_only_panel

EX = date(2020, 3, 4)
EARLY = datetime(2020, 1, 2, tzinfo=UTC)
LATE = datetime(2021, 1, 1, tzinfo=UTC)
TIMES = np.datetime64("2020-03-02T21:00", "ns") + np.arange(4) * np.timedelta64(1, "D")


def panel(*closes: list[float], symbols: str = "A") -> BarPanel:
    """Four daily bars, the third of them on the ex-date."""
    return close_only_panel(TIMES, tuple(symbols), np.array(closes, dtype=float).T)


def action(kind: str, value: float = 0.0, **others: object) -> CorporateAction:
    """An action of A on the ex-date."""
    given = {"symbol": "A", "ex_date": EX, "published": EARLY, "kind": kind, "value": value, **others}
    return CorporateAction(**given)  # type: ignore[arg-type]


def final_factor(*actions: CorporateAction) -> float:
    """The adjustment of the last bar, at a close of 100 before the ex-date."""
    known = apply_actions(panel([100.0, 100.0, 50.0, 50.0]), actions, LATE)
    return float(known.adjustment[-1, 0])


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        # Word for word; another publication; another identifier; as further shares; in fewer digits.
        ([action("split", 2.0)] * 2, 2.0),
        ([action("split", 2.0), action("split", 2.0, published=LATE - timedelta(days=9))], 2.0),
        ([action("split", 2.0, identifier="x"), action("split", 2.0, identifier="y")], 2.0),
        ([action("split", 2.0), action("stock_dividend", 1.0)], 2.0),
        ([action("split", 4 / 3), action("split", 1.33333333)], 4 / 3),
        ([action("stock_dividend", 0.05)] * 3, 1.05),
        ([action("cash_dividend", 20.0)] * 2, 1.25),
        (
            [action("cash_dividend", 20.0), action("cash_dividend", 20.0, published=EARLY.replace(day=9))],
            1.25,
        ),
        ([action("spin_off", 20.0)] * 2, 1.25),
        # Two payments of equal worth are told apart by their identifiers, or by their kinds.
        (
            [action("cash_dividend", 10.0, identifier="x"), action("cash_dividend", 10.0, identifier="y")],
            1.25,
        ),
        ([action("cash_dividend", 10.0), action("spin_off", 10.0)], 1.25),
        # A cancelled split contradicts none.
        ([action("split", 1.0, identifier="x"), action("split", 2.0, identifier="y")], 2.0),
    ],
)
def test_an_action_that_is_told_twice_counts_once(actions: list[CorporateAction], expected: float) -> None:
    """The factor of copies is that of one: 2 for a split, 100 / 80 for a payment of 20 on 100."""
    assert final_factor(*actions) == pytest.approx(expected, rel=1e-8)
    assert final_factor(*actions[::-1]) == pytest.approx(expected, rel=1e-8)
    vendor = DailyFactor(TIMES.astype("datetime64[D]"), np.array([100.0, 100.0, 50.0, 50.0]), actions)
    assert vendor.at(TIMES.astype("datetime64[D]"))[-1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (action("split", 2.0), action("split", 3.0), "a split of 2 and a split of 3 of A are both on 2020"),
        (action("split", 2.0), action("stock_dividend", 0.5), "a stock dividend of 0.5"),
        (action("delisting", -1.0), action("delisting", -0.3), "a delisting of -0.3"),
        (action("symbol_change", new_symbol="B"), action("symbol_change", new_symbol="C"), "name to C"),
    ],
)
def test_contradictions_of_one_ex_date_are_refused(
    one: CorporateAction, other: CorporateAction, words: str
) -> None:
    """Two ratios, delistings or new names of a symbol on one day are an error, once both are published."""
    with pytest.raises(DataError, match=words):
        actions_known_at([one, other], LATE)
    later = replace(other, published=LATE + timedelta(days=1))
    assert actions_known_at([one, later], LATE) == [one]
    versions = [replace(one, identifier="a"), replace(other, identifier="a", published=EARLY.replace(day=9))]
    assert actions_known_at(versions, LATE) == [versions[1]]


def test_a_change_of_name_that_is_told_twice_keeps_the_history() -> None:
    """The history under the old name moves to the new one once, and is still there the second time."""
    bars = panel([10.0, 11.0, np.nan, np.nan], [np.nan, np.nan, 12.0, 13.0], symbols="AB")
    change = action("symbol_change", new_symbol="B")
    known = apply_actions(bars, [change, replace(change, published=EARLY.replace(day=9))], LATE)
    assert known.close[:, 1].tolist() == [10.0, 11.0, 12.0, 13.0]


def test_a_split_that_is_told_under_both_names_counts_once() -> None:
    """A vendor tells the split of a renamed company under its old and its new name: the factor is 2."""
    bars = panel([100.0, 100.0, 50.0, np.nan], [np.nan, np.nan, np.nan, 50.0], symbols="AB")
    change = action("symbol_change", new_symbol="B", ex_date=EX + timedelta(days=1))
    both = [action("split", 2.0), action("split", 2.0, symbol="B")]
    # The earlier B was another company, so its actions give way; told after the change, they are the same.
    known = apply_actions(bars, [change, *both, replace(both[1], published=EARLY.replace(day=9))], LATE)
    assert known.adjustment[:, 1].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_delisting_that_is_told_twice_is_one() -> None:
    """Two rows of one delisting close the series once."""
    table = panel([10.0, 9.0, np.nan, np.nan], [1.0] * 4, symbols="AB").to_table()
    closed = BarPanel.from_table(adjust_rows(table, [action("delisting", -0.5)] * 2))
    assert closed.close[:, 0].tolist() == [10.0, 9.0, 4.5, 4.5]


def test_an_action_that_is_published_again_changes_nothing() -> None:
    """Published once more after its ex-date, a dividend counts once in what is known then, and before."""
    table = panel([100.0, 100.0, 80.0, 80.0]).to_table()
    paid = action("cash_dividend", 20.0)
    again = replace(paid, published=to_datetime(TIMES[2]) + timedelta(hours=1))
    assert adjust_rows(table, [paid, again])["adjustment"].to_pylist() == pytest.approx(
        [1.0, 1.0, 1.25, 1.25]
    )


def test_a_file_with_contradictions_is_refused_by_name(tmp_path: Path) -> None:
    """A file that gives two ratios of one ex-date is named with both; one that repeats a row is read."""
    head, row = "symbol,kind,ex_date,published,value\n", "A,split,2020-03-04,2020-01-02T12:00:00Z,2\n"
    path = tmp_path / "actions.csv"
    path.write_text(head + row * 2)
    assert len(actions_known_at(read_actions(path), LATE)) == 1
    path.write_text(head + row + row.replace(",2\n", ",4\n"))
    with pytest.raises(DataError, match=r"actions\.csv: a split of 2 and a split of 4 of A"):
        read_actions(path)
    path.write_text(head)
    assert read_actions(path) == []
