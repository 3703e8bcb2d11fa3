"""Bars with revisions and corporate actions, and how a stream goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BarPanel, to_datetime, to_datetime64
from features.compute.vintage_stream import VintageStream
from features.feature_set import FeatureSet
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.vintages import Vintages, first_prints
from marketdata.source import close_only_panel

START = np.datetime64("2020-03-02T21:00", "ns")
DAY = timedelta(days=1)
MOMENT = pa.timestamp("ns", tz="UTC")


def panel(*closes: Sequence[float], symbols: str = "AB") -> BarPanel:
    """Daily bars with these closes, one list a symbol."""
    close = np.array(closes, dtype=float).T
    names = tuple(symbols[: close.shape[1]])
    return close_only_panel(START + np.arange(len(close)) * np.timedelta64(1, "D"), names, close)


def moment(bars: BarPanel, row: int) -> datetime:
    """When bar `row` closes."""
    return to_datetime(bars.timestamps[row])


def revision(symbol: str, bar: datetime, published: datetime, close: float | None) -> pa.Table:
    """One row: what was published of a bar, and when."""
    times = {"timestamp": bar, "published": published}
    columns = {name: pa.array([to_datetime64(value)]).cast(MOMENT) for name, value in times.items()}
    return pa.table({"symbol": [symbol], "close": pa.array([close], pa.float64()), **columns})


def split(symbol: str, ex_date: date, published: datetime, value: float = 2.0) -> CorporateAction:
    """A split."""
    return CorporateAction(symbol, ex_date, published, "split", value)


def later(rows: pa.Table, by: timedelta) -> pa.Table:
    """The same rows, published `by` after the close."""
    stamps = pa.array(rows["timestamp"].cast(pa.int64()).to_numpy() + by // timedelta(microseconds=1) * 1000)
    return rows.set_column(rows.column_names.index("published"), "published", stamps.cast(MOMENT))


def eventful(bars: BarPanel) -> Vintages:
    """Real bars with a split in time, a dividend published late, revisions and a late bar."""
    rows = first_prints(bars)
    late = pc.and_(
        pc.equal(rows["symbol"], "XOM"),
        pc.equal(rows["timestamp"].cast(pa.int64()), to_datetime64(moment(bars, 425)).astype(np.int64)),
    )
    prompt = rows.filter(pc.invert(late))
    actions = (
        split("AAPL", moment(bars, 300).date(), moment(bars, 280), 4.0),
        CorporateAction(
            "KO", moment(bars, 320).date(), moment(bars, 325) - timedelta(hours=2), "cash_dividend", 0.4
        ),
    )
    store = Vintages(prompt, actions, symbols=bars.symbols)
    store = store.with_rows(later(rows.filter(late), timedelta(days=7)))
    for row, symbol in ((310, "BAC"), (390, "JNJ")):
        published = moment(bars, 400) + timedelta(minutes=row)
        close = bars.close[row, bars.symbols.index(symbol)] * 1.25
        store = store.with_rows(revision(symbol, moment(bars, row), published, close))
    return store


def replayed(store: Vintages, feature_set: FeatureSet, begin: int) -> tuple[np.ndarray, VintageStream]:
    """Every publication after bar `begin` into a stream, in the order of time; its features `[T, N, F]`."""
    times = store.timestamps()
    stream = VintageStream(feature_set, store, to_datetime(times[begin - 1]))
    last, values = times[begin - 1], []
    published = store.rows["published"].cast(pa.int64()).to_numpy()
    bars = store.rows["timestamp"].cast(pa.int64()).to_numpy()
    for now in times[begin:]:
        fresh = (published > last.astype(np.int64)) & (published <= now.astype(np.int64))
        late = store.rows.filter(pa.array(fresh & (published > bars)))
        learned = [one for one in store.actions if last < to_datetime64(one.published) <= now]
        if len(late) or learned:
            stream.publish(late, learned)
        bar = store.rows.filter(pa.array(fresh & (published == bars))).drop_columns(["published"])
        values.append(stream.update(BarPanel.from_table(bar, store.symbols).at(0)))
        last = now
    return np.stack(values), stream
