"""Bars that come late: filled into the next delta, judged like any other, and never looked at twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from alphaloop.bars import BARS_SCHEMA, BarPanel
from alphaloop.errors import DataError
from marketdata.quality.cleaning import Policies
from marketdata.source import bars_table
from marketdata.storage.incremental import store_base_snapshot, update_snapshot
from marketdata.storage.snapshots import SnapshotStore

DAYS = 200
STAMPS = np.datetime64("2020-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
# Prices that go up and down by a percent: nothing in them is an outlier.
CLOSES = 100.0 * 1.01 ** (np.arange(DAYS) % 2 + np.arange(DAYS) % 3)
# Gaps, and factors without a step of the price, are of no interest here.
QUIET = Policies({"gap": "report", "split": "report"})
ORDER = [("timestamp", "ascending"), ("symbol", "ascending")]


class Vendor:
    """A source round the clock whose bars are `table`."""

    name, calendar, adjusted_only, description = "vendor", "24/7", False, "a vendor"
    table: pa.Table

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(pc.unique(self.table["symbol"]).to_pylist()))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        kind = BARS_SCHEMA.field("timestamp").type
        return (
            self.table
            if start is None
            else self.table.filter(pc.greater_equal(self.table["timestamp"], pa.scalar(start, kind)))
        )


def bars(
    count: int,
    without: Iterable[tuple[str, int]] = (),
    changed: dict[tuple[str, int], float] | None = None,
    symbols: str = "AB",
    adjustment: np.ndarray | None = None,
) -> pa.Table:
    """The first bars of each symbol, without some (symbol, place) and with other closes for others."""
    tables = []
    for symbol in symbols:
        closes = CLOSES[:count].copy()
        for (name, place), close in (changed or {}).items():
            if name == symbol:
                closes[place] = close
        columns = dict.fromkeys(("open", "high", "low", "close"), closes)
        columns |= {"volume": np.full(count, 9.0), "adjustment": np.ones(count)}
        if adjustment is not None:
            columns["adjustment"] = adjustment[:count]
        keep = [place for place in range(count) if (symbol, place) not in set(without)]
        tables.append(bars_table(symbol, STAMPS[:count], columns).take(keep))
    return pa.concat_tables(tables).sort_by(ORDER).combine_chunks()


@pytest.fixture
def vendor() -> Vendor:
    """The source."""
    return Vendor()


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """A store without snapshots."""
    return SnapshotStore(tmp_path)


def begun(store: SnapshotStore, vendor: Vendor, table: pa.Table) -> None:
    """Store these bars as a base."""
    vendor.table = table
    store_base_snapshot(store, vendor, policies=QUIET)


@pytest.mark.parametrize(
    "holes",
    [
        [("B", 149)],
        [("B", 148)],
        [("A", 149), ("B", 140)],
        [("B", place) for place in range(100, 150)],
        [("B", place) for place in range(20, 150)],
        [("A", 120), ("B", 120)],
        [("B", 149), ("B", 0)],
    ],
    ids=["last", "before its last", "of both", "fifty", "since long ago", "of everybody", "first"],
)
def test_a_bar_that_comes_late_is_filled_in(
    store: SnapshotStore, vendor: Vendor, holes: list[tuple[str, int]]
) -> None:
    """Whatever hole the source has filled meanwhile is filled by the next update, and loads in order."""
    begun(store, vendor, bars(150, holes))
    vendor.table = bars(152)
    new = update_snapshot(store, vendor)
    expected = bars(152) if ("B", 0) not in holes else bars(152, [("B", 0)])
    table = store.load(new.id)
    assert table.select(BARS_SCHEMA.names).equals(expected)
    assert (new.rows, new.last) == (expected.num_rows, BarPanel.from_table(expected).at(-1).timestamp)
    assert update_snapshot(store, vendor) == new


def test_late_bars_alone_make_a_delta(store: SnapshotStore, vendor: Vendor) -> None:
    """The delta holds no more than what was lacking, and the snapshot ends where it ended."""
    begun(store, vendor, bars(150, [("B", 149)]))
    before = store.latest()
    vendor.table = bars(150)
    new = update_snapshot(store, vendor)
    assert before is not None
    assert (new.parent, new.rows - before.rows, new.last) == (before.id, 1, before.last)
    assert store.load(new.id).equals(bars(150))


def test_a_late_bar_is_adjusted_as_those_around_it(store: SnapshotStore, vendor: Vendor) -> None:
    """An answer whose factors begin anew is carried on from the symbol's own last bar."""
    factor = np.where(np.arange(DAYS) < 60, 1.0, 2.0)
    begun(store, vendor, bars(150, [("B", 148), ("B", 149)], adjustment=factor))
    vendor.table = bars(151, adjustment=factor / 2)
    table = store.load(update_snapshot(store, vendor, policies=QUIET).id)
    assert BarPanel.from_table(table).adjustment[60:].tolist() == [[2.0, 2.0]] * 91


def test_what_was_set_aside_does_not_come_again(store: SnapshotStore, vendor: Vendor) -> None:
    """Bars that were quarantined or dropped are no bars that came late."""
    policies = Policies({"outlier": "quarantine", "price": "repair", "gap": "report", "ohlc": "repair"})
    vendor.table = bars(150, changed={("A", 140): 12_345.678, ("B", 145): -1.0})
    base = store_base_snapshot(store, vendor, policies=policies)
    assert base.rows == 2 * 150 - 2
    assert update_snapshot(store, vendor, policies=policies) == base
    vendor.table = bars(151, changed={("A", 140): 12_345.678, ("B", 145): -1.0})
    assert update_snapshot(store, vendor, policies=policies).rows == base.rows + 2


def test_a_late_bar_is_judged_among_those_around_it(store: SnapshotStore, vendor: Vendor) -> None:
    """An impossible one refuses the delta; one far out of proportion is set aside where outliers are."""
    gaps = {"gap": "report"}
    begun(store, vendor, bars(150, [("B", 140)]))
    vendor.table = bars(150, changed={("B", 140): -1.0})
    with pytest.raises(DataError, match=r"\[price\] B at 2020-05-20"):
        update_snapshot(store, vendor, policies=Policies(gaps))
    vendor.table = bars(151, changed={("B", 140): 12_345.678})
    new = update_snapshot(store, vendor, policies=Policies({**gaps, "outlier": "quarantine"}))
    assert store.load(new.id).equals(bars(151, [("B", 140)]))


def test_what_is_stored_is_not_replaced_by_what_the_source_says_now(
    store: SnapshotStore, vendor: Vendor
) -> None:
    """A revised bar is no late one: what was learned from stays."""
    begun(store, vendor, bars(150))
    vendor.table = bars(151, changed={("A", 149): 100.5})
    assert store.load(update_snapshot(store, vendor).id).equals(bars(151))


def test_a_new_symbol_begins_after_the_stored_bars(store: SnapshotStore, vendor: Vendor) -> None:
    """Of a symbol that was not there before, a delta brings no past."""
    begun(store, vendor, bars(150))
    vendor.table = bars(151, symbols="ABC")
    table = store.load(update_snapshot(store, vendor).id)
    assert table.filter(pc.equal(table["symbol"], "C")).num_rows == 1


def test_a_bar_is_appended_once(store: SnapshotStore) -> None:
    """A row for a symbol and time that is stored is refused, among late ones too."""
    base = store.save(bars(10, [("B", 4)]), "vendor")
    with pytest.raises(DataError, match=r"has a bar of A at 2020-01-05T00:00:00\+00:00 already"):
        store.append(base.id, bars(11).slice(8))
    late = bars(11).filter(pc.equal(bars(11)["symbol"], "B")).slice(4, 1)
    assert store.load(store.append(base.id, late).id).equals(bars(10))


def test_history_is_asked_for_some_way_back(store: SnapshotStore, vendor: Vendor) -> None:
    """Sixty-three bars and a week, or to the last bar of the symbol that lacks bars the longest."""
    asked: list[datetime | None] = []

    class Noting(Vendor):
        def history(
            self, symbols: Sequence[str] = (), start: datetime | None = None, *more: object
        ) -> pa.Table:
            asked.append(start)
            return super().history(symbols, start)

    noting = Noting()
    begun(store, noting, bars(150))
    update_snapshot(store, noting)
    begun(store, noting, bars(150, [("B", place) for place in range(20, 150)]))
    update_snapshot(store, noting)
    days = [None if one is None else one.date() for one in asked]
    assert days == [None, date(2020, 1, 1) + timedelta(days=87), None, date(2020, 1, 20)]
