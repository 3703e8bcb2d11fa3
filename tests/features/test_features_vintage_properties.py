"""Whatever is published when: nothing later changes a feature, and a stream is its backfill."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.bars import BarPanel
from features.compute.vintage_backfill import backfill_by_vintage
from features.feature_set import DEFAULT
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.vintages import Vintages, first_prints

from .vintage_histories import moment, replayed, revision


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
