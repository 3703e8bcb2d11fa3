"""A stream that learns late: bar by bar it has the features of one backfill a vintage."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from alphaloop.bars import BarPanel, Slice
from alphaloop.errors import DataError
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.compute.vintage_backfill import backfill_by_vintage
from features.compute.vintage_stream import VintageStream
from features.feature_set import DEFAULT, FeatureSet
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.vintages import Vintages, first_prints
from marketdata.source import close_only_panel

from .vintage_histories import DAY, eventful, moment, replayed, revision, split


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
    bars = close_only_panel(real_bars.timestamps, ("FB", "META", "KO"), close)
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


def test_a_slice_without_any_bar_passes(real_bars: BarPanel) -> None:
    """A timestamp at which no symbol traded gives NaN and leaves the stream where the backfill is."""
    stream = VintageStream(
        DEFAULT, Vintages(first_prints(real_bars), symbols=real_bars.symbols), moment(real_bars, 300)
    )
    empty = real_bars.at(301)
    gone: Slice = replace(empty, timestamp=empty.timestamp - timedelta(hours=3), close=np.full(6, np.nan))
    assert np.isnan(stream.update(gone)).all()
    np.testing.assert_array_equal(stream.update(real_bars.at(301)), backfill(real_bars, DEFAULT).values[301])
