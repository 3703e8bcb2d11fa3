"""Vintages: what was known when, and features of it as each moment would have had them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import DataError
from features.compute.batch import FeatureFrame, backfill
from features.compute.vintage_backfill import backfill_by_vintage
from features.feature_set import DEFAULT
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.vintages import Vintages, first_prints

from .vintage_histories import DAY, eventful, later, moment, panel, revision, split


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


def test_the_plain_backfill_of_revised_bars_would_leak(real_bars: BarPanel) -> None:
    """Features of today's view of the past are not those that could be known: the property can fail."""
    store = eventful(real_bars)
    by_vintage: FeatureFrame = backfill_by_vintage(store, DEFAULT)
    today = backfill(store.as_of(moment(real_bars, 502)), DEFAULT)
    assert not np.array_equal(by_vintage.values[380], today.values[380], equal_nan=True)
    np.testing.assert_array_equal(by_vintage.values[502], today.values[502])
