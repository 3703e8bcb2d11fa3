"""Vintages: what was known when; features of it, the same in one backfill a vintage and bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.errors import DamagedStoreError, DataError, UnknownNameError
from alphaloop.market import BarPanel, Slice, to_datetime, to_datetime64
from features.build import FeatureFrame, backfill
from features.sets import DEFAULT, FeatureSet
from features.source import close_only
from features.stream import FeatureStream
from features.truth.corporate_actions import CorporateAction
from features.truth.vintage_store import VintageStore
from features.truth.vintage_stream import VintageStream
from features.truth.vintages import Vintages, backfill_by_vintage, first_prints

START = np.datetime64("2020-03-02T21:00", "ns")
DAY = timedelta(days=1)
MOMENT = pa.timestamp("ns", tz="UTC")


def panel(*closes: Sequence[float], symbols: str = "AB") -> BarPanel:
    """Daily bars with these closes, one list a symbol."""
    close = np.array(closes, dtype=float).T
    names = tuple(symbols[: close.shape[1]])
    return close_only(START + np.arange(len(close)) * np.timedelta64(1, "D"), names, close)


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


# -- what was known when ---------------------------------------------------------------------------


def test_what_was_known_changes_with_each_publication() -> None:
    """A bar has its first close until its revision is published, and none once it is withdrawn."""
    bars = panel([10.0, 11.0, 12.0, 13.0])
    second = moment(bars, 1)
    store = Vintages(first_prints(bars))
    store = store.with_rows(revision("A", second, moment(bars, 2) + timedelta(hours=1), 11.5))
    store = store.with_rows(revision("A", second, moment(bars, 3) + timedelta(hours=1), None))
    assert store.as_of(moment(bars, 2)).close[:, 0].tolist() == [10.0, 11.0, 12.0]
    assert store.as_of(moment(bars, 3)).close[:, 0].tolist() == [10.0, 11.5, 12.0, 13.0]
    np.testing.assert_array_equal(store.as_of(moment(bars, 3) + DAY).close[:, 0], [10.0, np.nan, 12.0, 13.0])
    assert store.as_of(moment(bars, 0) - DAY).close.shape == (0, 1)


def test_vintages_come_in_any_order() -> None:
    """Whichever of its publications a store was given first, a bar has the one published last."""
    bars = panel([10.0])
    times = [moment(bars, 0) + hours * timedelta(hours=1) for hours in (2, 0, 1)]
    rows = [revision("A", moment(bars, 0), time_, 10.0 + place) for place, time_ in enumerate(times)]
    store = Vintages(pa.concat_tables(rows))
    known = [store.as_of(time_).close[0, 0] for time_ in sorted(times)]
    assert known == [11.0, 12.0, 10.0]


def test_a_name_that_changes_at_once_changes_the_past() -> None:
    """A rename published on its day, before the first bar, still moves the history: at its publication."""
    bars = panel([10.0, 10.0, np.nan], [np.nan, np.nan, 10.0])
    published = moment(bars, 2) - timedelta(hours=2)
    change = CorporateAction("A", moment(bars, 2).date(), published, "symbol_change", new_symbol="B")
    assert Vintages(first_prints(bars), (change,)).publications_after_effect() == [published]


def test_what_was_known_is_adjusted_by_the_actions_known() -> None:
    """A split published after its ex-date adjusts the views from its publication on."""
    bars = panel([10.0, 5.0, 5.0])
    store = Vintages(first_prints(bars), (split("A", moment(bars, 1).date(), moment(bars, 2)),))
    assert store.as_of(moment(bars, 1)).adjusted_close[:, 0].tolist() == [10.0, 5.0]
    assert store.as_of(moment(bars, 2)).adjusted_close[:, 0].tolist() == [10.0, 10.0, 10.0]


def test_only_what_reaches_back_changes_the_past() -> None:
    """New bars and actions announced in time change nothing; what is late, and new names, do."""
    bars = panel([10.0, 5.0, 5.0, 5.0], [7.0, 7.0, 7.0, 7.0])
    hour = timedelta(hours=1)
    days = [moment(bars, row).date() for row in range(4)]
    actions = (
        split("A", days[1], moment(bars, 0)),
        split("A", days[1], moment(bars, 1) - hour, 1.5),  # on the day itself, before its bar
        split("B", days[1], moment(bars, 1) + hour),
        CorporateAction("A", days[2], moment(bars, 3), "delisting", -1.0),
        CorporateAction("B", days[3], moment(bars, 0), "symbol_change", new_symbol="C"),
    )
    store = Vintages(first_prints(bars), actions)
    store = store.with_rows(revision("A", moment(bars, 0), moment(bars, 2), 10.5))
    found = [(change.moment, sorted(change.symbols)) for change in store.changes()]
    assert found == [
        (moment(bars, 1) + hour, ["B", "C"]),
        (moment(bars, 2), ["A"]),
        (actions[-1].effective, ["B", "C"]),
    ]
    assert store.publications_after_effect() == [one for one, _ in found]


def test_a_corrected_action_touches_where_it_first_stood() -> None:
    """A split that is moved to a later day changes the past from the day at which it stood before."""
    bars = panel([10.0, 10.0, 10.0, 5.0])
    wrong = replace(split("A", moment(bars, 1).date(), moment(bars, 0)), identifier="s")
    right = replace(wrong, ex_date=moment(bars, 3).date(), published=moment(bars, 2))
    store = Vintages(first_prints(bars), (wrong, right))
    assert store.publications_after_effect() == [moment(bars, 2)]
    assert store.as_of(moment(bars, 1)).adjusted_close[:, 0].tolist() == [10.0, 20.0]
    assert store.as_of(moment(bars, 3)).adjusted_close[:, 0].tolist() == [10.0, 10.0, 10.0, 10.0]


def test_a_short_delay_is_no_revision_of_the_past() -> None:
    """Within the latency bars and corrections count as published at the close; beyond it they are late."""
    bars = panel([10.0, 11.0])
    rows = later(first_prints(bars), timedelta(seconds=3))
    rows = pa.concat_tables(
        [
            Vintages(rows).rows,
            Vintages(revision("A", moment(bars, 0), moment(bars, 0) + 5 * timedelta(seconds=1), 10.5)).rows,
        ],
        promote_options="default",
    )
    patient = Vintages(rows, latency=timedelta(seconds=5))
    assert patient.publications_after_effect() == []
    assert patient.as_of(moment(bars, 0)).close[:, 0].tolist() == [10.5]
    strict = Vintages(rows, latency=timedelta(seconds=3))
    assert strict.as_of(moment(bars, 0)).close[:, 0].tolist() == [10.0]
    assert strict.publications_after_effect() == [moment(bars, 0) + timedelta(seconds=5)]
    with pytest.raises(DataError, match="no bar was published at its close"):
        backfill_by_vintage(Vintages(rows), DEFAULT)


def test_impossible_vintages_are_refused() -> None:
    """A bar known before it closed, published twice at once, or without its columns is refused by name."""
    bars = panel([10.0, 11.0])
    store = Vintages(first_prints(bars))
    for rows, word in [
        (
            revision("A", moment(bars, 1), moment(bars, 0), 1.0),
            "the bar of A at 2020-03-03 .* before its close",
        ),
        (first_prints(bars), "the bar of A at 2020-03-02 .* twice"),
        (bars.to_table(), "need 'published'"),
        (revision("A", moment(bars, 1), moment(bars, 1), 1.0).drop_columns(["close"]), "need 'close'"),
    ]:
        with pytest.raises(DataError, match=word):
            store.with_rows(rows)
    text = revision("A", moment(bars, 1), moment(bars, 1), 1.0)
    for cell, word in [("soon", "no moments in UTC"), (None, "have none")]:
        with pytest.raises(DataError, match=word):
            Vintages(
                text.set_column(
                    text.column_names.index("published"), "published", pa.array([cell], pa.string())
                )
            )


# -- features of what was known --------------------------------------------------------------------


def test_without_revisions_it_is_the_plain_backfill(real_bars: BarPanel) -> None:
    """Where nothing is learned late, features by vintage are those of one backfill, bit for bit."""
    frame = backfill_by_vintage(Vintages(first_prints(real_bars), symbols=real_bars.symbols), DEFAULT)
    expected = backfill(real_bars, DEFAULT)
    np.testing.assert_array_equal(frame.values, expected.values)
    np.testing.assert_array_equal(frame.timestamps, expected.timestamps)
    assert (frame.symbols, frame.names, frame.feature_set) == (
        expected.symbols, expected.names, expected.feature_set,
    )  # fmt: skip


def test_each_row_is_what_a_backfill_at_that_moment_would_have_given(real_bars: BarPanel) -> None:
    """Row t equals the last row of a backfill of what was known at t, at every bar around the changes."""
    store = eventful(real_bars)
    frame = backfill_by_vintage(store, DEFAULT)
    for row in (299, 300, 301, 319, 320, 324, 325, 326, 399, 400, 401, 430, 431, 502):
        known = store.as_of(moment(real_bars, row))
        np.testing.assert_array_equal(
            frame.values[row], backfill(known, DEFAULT).values[-1], err_msg=str(row)
        )


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


def test_a_stream_that_rebuilds_equals_the_backfill_by_vintage(real_bars: BarPanel) -> None:
    """Across a split, a late dividend, revisions and a late bar both give the same bits."""
    store = eventful(real_bars)
    values, stream = replayed(store, DEFAULT, 290)
    np.testing.assert_array_equal(values, backfill_by_vintage(store, DEFAULT).values[290:])
    assert stream.rebuilds == 3
    assert stream.last == moment(real_bars, 502)


def test_only_the_symbols_touched_are_rebuilt(real_bars: BarPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of single symbols need new handles for those touched alone, and have the same bits."""
    made: list[tuple[str, ...]] = []
    genuine = FeatureStream.__init__

    def watched(
        self: FeatureStream, feature_set: FeatureSet, symbols: tuple[str, ...], history: BarPanel
    ) -> None:
        made.append(symbols)
        genuine(self, feature_set, symbols, history)

    monkeypatch.setattr(FeatureStream, "__init__", watched)
    store, alone = (
        eventful(real_bars),
        FeatureSet(("return_5", "rsi_14", "macd_histogram", "distance_kama_10")),
    )
    values, stream = replayed(store, alone, 290)
    np.testing.assert_array_equal(values, backfill_by_vintage(store, alone).values[290:])
    assert made == [real_bars.symbols, ("KO",), ("BAC", "JNJ"), ("XOM",)]
    assert stream.rebuilds == 3


def test_a_stream_follows_a_change_of_symbol(real_bars: BarPanel) -> None:
    """After a rename the new symbol has the features of the company's whole history, either way."""
    close = np.column_stack([real_bars.close[:, 0], np.full(len(real_bars), np.nan), real_bars.close[:, 1]])
    close[400:, 1], close[400:, 0] = close[400:, 0], np.nan
    bars = close_only(real_bars.timestamps, ("FB", "META", "KO"), close)
    change = CorporateAction(
        "FB", moment(bars, 400).date(), moment(bars, 350), "symbol_change", new_symbol="META"
    )
    store = Vintages(first_prints(bars), (change,), symbols=bars.symbols)
    frame = backfill_by_vintage(store, DEFAULT)
    np.testing.assert_array_equal(replayed(store, DEFAULT, 300)[0], frame.values[300:])
    plain = backfill(real_bars.select(("AAPL", "BAC")), DEFAULT).values
    np.testing.assert_array_equal(frame.values[300:400, 0], plain[300:400, 0])
    np.testing.assert_array_equal(frame.values[400:, 1], plain[400:, 0])
    assert np.isnan(frame.values[400:, 0]).all()


def test_what_arrives_after_its_time_counts_from_its_arrival(real_bars: BarPanel) -> None:
    """A split published yesterday that reaches the stream today changes no bar in between."""
    stream = VintageStream(
        DEFAULT, Vintages(first_prints(real_bars), symbols=real_bars.symbols), moment(real_bars, 300)
    )
    for row in (301, 302):
        stream.update(real_bars.at(row))
    action = split("AAPL", moment(real_bars, 300).date(), moment(real_bars, 299))
    stream.publish(actions=[action])
    known = replace(action, published=moment(real_bars, 303))
    store = Vintages(first_prints(real_bars), (known,), symbols=real_bars.symbols)
    np.testing.assert_array_equal(
        stream.update(real_bars.at(303)), backfill_by_vintage(store, DEFAULT).values[303]
    )
    assert stream.rebuilds == 1


def test_a_correction_within_the_latency_comes_too_late_for_its_bar(real_bars: BarPanel) -> None:
    """Once a bar's features are computed, a correction of it counts from then on, as any late one."""
    latency = timedelta(seconds=5)
    store = Vintages(first_prints(real_bars), latency=latency, symbols=real_bars.symbols)
    stream = VintageStream(DEFAULT, store, moment(real_bars, 300))
    stream.update(real_bars.at(301))
    close = float(real_bars.close[301, 0]) * 1.1
    second = timedelta(seconds=1)
    stream.publish(revision("AAPL", moment(real_bars, 301), moment(real_bars, 301) + second, close))
    late = revision("AAPL", moment(real_bars, 301), moment(real_bars, 301) + latency + second, close)
    expected = backfill_by_vintage(store.with_rows(late), DEFAULT)
    np.testing.assert_array_equal(stream.update(real_bars.at(302)), expected.values[302])
    assert stream.rebuilds == 1


def test_slices_may_name_their_symbols_in_any_order(real_bars: BarPanel) -> None:
    """Slices in another order, or without a symbol, are stored and rebuilt under the right names."""
    store = Vintages(first_prints(real_bars), symbols=real_bars.symbols)
    stream = VintageStream(DEFAULT, store, moment(real_bars, 300))
    stream.update(real_bars.select(real_bars.symbols[::-1]).at(301))
    stream.update(real_bars.at(302))
    stream.publish(actions=[split("KO", moment(real_bars, 301).date(), moment(real_bars, 302) + DAY / 2)])
    values = stream.update(real_bars.select(real_bars.symbols[::-1]).at(303))
    expected = backfill_by_vintage(store.with_actions(stream._vintages.actions), DEFAULT)
    np.testing.assert_array_equal(values, expected.values[303])


def test_a_refused_action_leaves_the_stream_where_it_was(real_bars: BarPanel) -> None:
    """A dividend above the price is refused at each bar until it is corrected; then the stream goes on."""
    store = Vintages(first_prints(real_bars), symbols=real_bars.symbols)
    stream = VintageStream(DEFAULT, store, moment(real_bars, 300))
    wrong = CorporateAction(
        "KO", moment(real_bars, 301).date(), moment(real_bars, 300), "cash_dividend", 400.0, identifier="d"
    )
    stream.publish(actions=[wrong])
    for _ in range(2):
        with pytest.raises(DataError, match=r"400\.0 USD a share is not below"):
            stream.update(real_bars.at(301))
    stream.publish(actions=[replace(wrong, value=0.4, published=moment(real_bars, 301) - timedelta(hours=1))])
    right = store.with_actions([replace(wrong, value=0.4)])
    np.testing.assert_array_equal(
        stream.update(real_bars.at(301)), backfill_by_vintage(right, DEFAULT).values[301]
    )


def test_a_stream_takes_bars_as_traded_and_in_order(real_bars: BarPanel) -> None:
    """A bar at or before the last, or one that is adjusted, is refused and changes nothing."""
    stream = VintageStream(
        DEFAULT, Vintages(first_prints(real_bars), symbols=real_bars.symbols), moment(real_bars, 300)
    )
    with pytest.raises(DataError, match="not later than"):
        stream.update(real_bars.at(300))
    bar = real_bars.at(301)
    with pytest.raises(DataError, match="give it as traded"):
        stream.update(replace(bar, adjustment=bar.adjustment * 2))
    np.testing.assert_array_equal(stream.update(bar), backfill(real_bars, DEFAULT).values[301])


# -- nothing published later changes anything earlier ----------------------------------------------


def histories(
    bars: BarPanel,
) -> st.SearchStrategy[tuple[list[CorporateAction], list[tuple[str, int, int, float]]]]:
    """Any actions and revisions: of which bar, how many half days later, by which factor."""

    def action(symbol: str, row: int, delay: int, kind: str, value: float, name: str) -> CorporateAction:
        ex_date = moment(bars, row).date()
        published = datetime.combine(ex_date, time(3), UTC) + timedelta(hours=12 * delay)
        worth = value if kind == "split" else value / 50
        return CorporateAction(symbol, ex_date, published, kind, worth, identifier=name)  # type: ignore[arg-type]

    symbols, rows = st.sampled_from(bars.symbols), st.integers(0, len(bars) - 1)
    kinds = st.sampled_from(["split", "cash_dividend", "stock_dividend", "spin_off"])
    actions = st.builds(
        action, symbols, rows, st.integers(-30, 60), kinds, st.floats(0.5, 3.0), st.sampled_from(["", "x"])
    )
    revisions = st.tuples(symbols, rows, st.integers(1, 80), st.floats(0.5, 2.0))
    return st.tuples(
        st.lists(actions, max_size=4),
        st.lists(revisions, max_size=4, unique_by=lambda one: one[:3]),
    )


def vintages_of(
    bars: BarPanel, actions: list[CorporateAction], revisions: list[tuple[str, int, int, float]]
) -> Vintages:
    """The bars with these actions and revisions."""
    store = Vintages(first_prints(bars), tuple(actions), symbols=bars.symbols)
    for symbol, row, delay, by in revisions:
        published = moment(bars, row) + timedelta(hours=12 * delay)
        close = bars.close[row, bars.symbols.index(symbol)] * by
        store = store.with_rows(revision(symbol, moment(bars, row), published, close))
    return store


@settings(max_examples=40)
@given(data=st.data())
def test_nothing_published_after_t_changes_a_feature_at_or_before_t(
    real_bars: BarPanel, data: st.DataObject
) -> None:
    """With every action and revision after t replaced by others, features up to t keep their bits."""
    as_of = moment(real_bars, data.draw(st.integers(255, 480)))
    (actions, revisions), (other_actions, other_revisions) = (
        data.draw(histories(real_bars)) for _ in range(2)
    )

    def published(one: tuple[str, int, int, float]) -> datetime:
        return moment(real_bars, one[1]) + timedelta(hours=12 * one[2])

    mixed_actions = [a for a in actions if a.published <= as_of] + [
        a for a in other_actions if a.published > as_of
    ]
    mixed_revisions = [r for r in revisions if published(r) <= as_of]
    mixed_revisions += [r for r in other_revisions if published(r) > as_of]
    frames = [
        backfill_by_vintage(vintages_of(real_bars, *history), DEFAULT)
        for history in ((actions, revisions), (mixed_actions, mixed_revisions))
    ]
    end = frames[0].index_of(as_of) + 1
    np.testing.assert_array_equal(frames[0].values[:end], frames[1].values[:end])


@settings(max_examples=15)
@given(data=st.data())
def test_any_history_streams_as_it_is_backfilled(real_bars: BarPanel, data: st.DataObject) -> None:
    """Whatever is published when, the stream gives the bits of the backfill by vintage."""
    bars = real_bars.between(end=moment(real_bars, 330))
    store = vintages_of(bars, *data.draw(histories(bars)))
    begin = data.draw(st.integers(254, 320))
    np.testing.assert_array_equal(
        replayed(store, DEFAULT, begin)[0], backfill_by_vintage(store, DEFAULT).values[begin:]
    )


def test_the_plain_backfill_of_revised_bars_would_leak(real_bars: BarPanel) -> None:
    """Features of today's view of the past are not those that could be known: the property can fail."""
    store = eventful(real_bars)
    by_vintage: FeatureFrame = backfill_by_vintage(store, DEFAULT)
    today = backfill(store.as_of(moment(real_bars, 502)), DEFAULT)
    assert not np.array_equal(by_vintage.values[380], today.values[380], equal_nan=True)
    np.testing.assert_array_equal(by_vintage.values[502], today.values[502])


def test_a_slice_without_any_bar_passes(real_bars: BarPanel) -> None:
    """A timestamp at which no symbol traded gives NaN and leaves the stream where the backfill is."""
    stream = VintageStream(
        DEFAULT, Vintages(first_prints(real_bars), symbols=real_bars.symbols), moment(real_bars, 300)
    )
    empty = real_bars.at(301)
    gone: Slice = replace(empty, timestamp=empty.timestamp - timedelta(hours=3), close=np.full(6, np.nan))
    assert np.isnan(stream.update(gone)).all()
    np.testing.assert_array_equal(stream.update(real_bars.at(301)), backfill(real_bars, DEFAULT).values[301])


# -- stored ----------------------------------------------------------------------------------------


def test_stored_vintages_are_what_they_were(tmp_path: Path, real_bars: BarPanel) -> None:
    """The id is that of rows, publications, actions and latency in any order; features of it are the same."""
    vintages = eventful(real_bars)
    store = VintageStore(tmp_path)
    identity = store.save(vintages)
    backwards = Vintages(vintages.rows.take(np.arange(len(vintages.rows))[::-1]), vintages.actions[::-1],
                         symbols=vintages.symbols)  # fmt: skip
    assert store.save(backwards) == identity
    loaded = store.load(identity)
    assert (loaded.symbols, loaded.latency) == (vintages.symbols, vintages.latency)
    assert sorted(loaded.actions, key=str) == sorted(vintages.actions, key=str)
    for row in (310, 405, 502):
        ours, theirs = (one.as_of(moment(real_bars, row)) for one in (loaded, vintages))
        np.testing.assert_array_equal(ours.adjusted_close, theirs.adjusted_close)
    others = [
        vintages.with_actions([split("XOM", date(2019, 1, 2), moment(real_bars, 1))]),
        vintages.with_rows(revision("XOM", moment(real_bars, 1), moment(real_bars, 9), 1.0)),
        replace(vintages, latency=timedelta(seconds=1)),
        Vintages(first_prints(real_bars), vintages.actions, symbols=vintages.symbols),
        Vintages(later(first_prints(real_bars), DAY), vintages.actions, symbols=vintages.symbols),
    ]
    assert len({identity, *(store.save(one) for one in others)}) == 6


def test_damaged_vintages_say_so(tmp_path: Path, real_bars: BarPanel) -> None:
    """A file under another's name, one that is no Parquet, lost actions and a strange id are each named."""
    store = VintageStore(tmp_path)
    first = Vintages(first_prints(real_bars), (split("KO", date(2019, 1, 2), moment(real_bars, 1)),))
    one, other = store.save(first), store.save(first.until(moment(real_bars, 9)))
    paths = {identity: tmp_path / f"{identity}.vintages.parquet" for identity in (one, other)}
    kept = paths[one].read_bytes()
    for content, word in [(paths[other].read_bytes(), "does not hash"), (b"PAR1", "fetch its bars anew")]:
        paths[one].write_bytes(content)
        with pytest.raises(DamagedStoreError, match=word):
            store.load(one)
    paths[one].write_bytes(kept)
    with pytest.raises(UnknownNameError, match=one[:12]):
        store.load("0" * 64)
    for path in tmp_path.glob("*.actions.parquet"):
        path.unlink()
    with pytest.raises(UnknownNameError, match="set of corporate actions"):
        store.load(one)
