"""A bar is closed once for evidence, whatever the log loses or receives afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock
from alphaloop.journal.opening import open_journal
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import Override
from features.feature_set import DEFAULT
from rollouts.controller import RolloutController
from rollouts.evidence.bar_window import BarWindow
from rollouts.evidence.closing.awaited_rows import AwaitedRows
from rollouts.evidence.closing.closed_bar import ClosedBar, is_recomputed
from rollouts.evidence.closing.closing_records import EVIDENCE_CLOSED
from rollouts.evidence.followed_frames import FollowedFrames
from rollouts.operations import make_controller
from serving.log.prediction_log import PredictionRow
from tests.rollouts.conftest import Universe

FIRST = 2600


@pytest.fixture
def journal(universe: Universe) -> Iterator[Journal]:
    with open_journal(universe.settings, SystemClock()) as journal:
        yield journal


def _controller(universe: Universe, journal: Journal) -> RolloutController:
    return make_controller(universe.settings, universe.settings.serving.model, journal, universe.registry)


@pytest.fixture
def controller(universe: Universe, journal: Journal) -> RolloutController:
    """A rollout of version 2 against version 1, in shadow from bar `FIRST`."""
    made = _controller(universe, journal)
    if universe.registry.rollout(made.model) is None:
        made.crown("1")
    made.start(
        "2", to_datetime(universe.bars.timestamps[FIRST]), override=Override("drill", "tests", "rehearsal")
    )
    return made


def _judge(universe: Universe, controller: RolloutController, index: int, rows: list[PredictionRow]) -> None:
    as_of = to_datetime(universe.bars.timestamps[index])
    controller.on_bar(as_of, rows, universe.bars.part(0, index + 1))


def _closings(journal: Journal) -> list[dict]:
    return [record.body for record in journal.records(CONTROL_STREAM, EVIDENCE_CLOSED)]


def test_rows_that_a_killed_server_lost_are_scored_again(
    universe: Universe, controller: RolloutController, journal: Journal
) -> None:
    """A version without a row counts with the scores of its file, and the closing names it."""
    rows = universe.rows(FIRST + 1, "1", "2")
    _judge(universe, controller, FIRST + 1, rows)
    _judge(universe, controller, FIRST + 2, universe.rows(FIRST + 2, "1", "2")[:1])
    _judge(universe, controller, FIRST + 3, [])
    assert controller.current_run().ledger.bars == 3
    assert [one["recomputed"] for one in _closings(journal)] == [[], ["2"], ["1", "2"]]
    assert controller.current_run().ledger.summary()["recomputation_max_abs_diff"] < 1e-4


def test_late_rows_change_no_evidence_and_no_digest(
    universe: Universe, controller: RolloutController, journal: Journal
) -> None:
    """A control that starts anew, with rows that came after the closing, counts what was closed."""
    for index in (FIRST + 1, FIRST + 2):
        _judge(universe, controller, index, universe.rows(index, "1", "2")[:1])
    summary, closings = controller.current_run().ledger.summary(), _closings(journal)
    late = [row for index in (FIRST + 1, FIRST + 2) for row in universe.rows(index, "1", "2", shift=5.0)]
    anew = _controller(universe, journal)
    ledger = anew.rebuild(late, universe.bars.part(0, FIRST + 3))
    assert repr(ledger.summary()) == repr(summary)
    anew.catch_up(late, universe.bars.part(0, FIRST + 3))
    assert repr(anew.current_run().ledger.summary()) == repr(summary)
    assert _closings(journal) == closings


def test_a_log_that_lost_rows_since_is_scored_again_and_said(
    universe: Universe,
    controller: RolloutController,
    journal: Journal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows that were removed after the closing are made anew; one line names the bar and both digests."""
    _judge(universe, controller, FIRST + 1, universe.rows(FIRST + 1, "1", "2"))
    live_ic = controller.current_run().ledger.summary()["live_ic"]
    with caplog.at_level(logging.WARNING):
        ledger = _controller(universe, journal).rebuild([], universe.bars.part(0, FIRST + 2))
    assert ledger.bars == 1
    assert ledger.summary()["live_ic"] == pytest.approx(live_ic, nan_ok=True)
    assert "put the log back" in caplog.text
    assert _closings(journal)[0]["digest"][:12] in caplog.text


def test_a_row_that_was_logged_twice_counts_once(universe: Universe) -> None:
    """A file of the log that was copied changes no digest."""
    rows, at = universe.rows(FIRST, "1", "2"), to_datetime(universe.bars.timestamps[FIRST])
    once, twice = ClosedBar.of(at, rows, ["1", "2"]), ClosedBar.of(at, [*rows, *reversed(rows)], ["1", "2"])
    assert once == twice
    assert once.digest != ClosedBar.of(at, rows[:1], ["1", "2"]).digest
    assert not any(map(is_recomputed, once.rows))


class _Log:
    """A reader whose rows come in the order given, one list a call."""

    def __init__(self, *batches: list[PredictionRow]) -> None:
        self.batches = list(batches)

    def new(self) -> list[PredictionRow]:
        return self.batches.pop(0) if self.batches else []


def test_rows_are_awaited_for_each_version_and_no_longer_than_set(universe: Universe) -> None:
    """The second version's row is waited for; rows of a bar that was taken are dropped and counted."""
    first, second = universe.rows(FIRST, "1", "2"), universe.rows(FIRST + 1, "1", "2")
    times = [to_datetime(universe.bars.timestamps[index]) for index in (FIRST, FIRST + 1)]
    rows = AwaitedRows(_Log(first[:1], first[1:], [replace(first[0], prediction_id="late"), second[0]]), 0.05)  # type: ignore[arg-type]
    assert [row.version for row in rows.take(times[0], ["1", "2"])] == ["1", "2"]
    assert [row.version for row in rows.take(times[1], ["1", "2"])] == ["1"]
    assert rows.late == 1
    assert rows.take(times[0], ["1"]) == []


def test_features_of_a_new_bar_cost_one_bar_and_equal_the_backfill(universe: Universe) -> None:
    """The thousandth bar computes one bar, on a window of the history, and gives the backfill's features."""
    bars, card = universe.bars, universe.registry.card(universe.settings.serving.model, "2")
    followed = FollowedFrames(DEFAULT)
    followed.at(bars.part(0, FIRST)).of(card)
    started = followed.computed
    window = BarWindow(bars.part(0, FIRST), 50)
    for index in range(FIRST, FIRST + 120):
        window.add(bars.at(index))
        frame = followed.at(window.panel()).of(card)
    assert followed.computed - started == 120
    assert len(frame) == card.lookback
    np.testing.assert_array_equal(frame.values[-1], universe.frame.values[FIRST + 119])


def test_a_window_holds_no_more_bars_in_the_third_year(universe: Universe) -> None:
    """Memory is bounded by the window's size, and the newest bars are those of the history."""
    window = BarWindow(universe.bars.part(0, 1000), 40, load=lambda: universe.bars)
    most = 0
    for index in range(1000, 1750):
        window.add(universe.bars.at(index))
        most = max(most, window.held)
    assert most <= 80
    panel = window.panel()
    assert list(panel.timestamps) == list(universe.bars.timestamps[1710:1750])
    np.testing.assert_array_equal(panel.close, universe.bars.close[1710:1750])
    assert window.whole() is universe.bars


def test_evidence_on_a_window_is_that_on_the_whole_history(
    universe: Universe, controller: RolloutController, journal: Journal
) -> None:
    """A controller that is given the last bars alone counts what one with all bars counts."""
    window = BarWindow(universe.bars.part(0, FIRST + 1), 30)
    for index in range(FIRST + 1, FIRST + 4):
        window.add(universe.bars.at(index))
        whole = universe.bars.part(0, index + 1)
        as_of = to_datetime(universe.bars.timestamps[index])
        controller.on_bar(as_of, universe.rows(index, "1", "2"), window.panel(), lambda whole=whole: whole)
    anew = _controller(universe, journal)
    rows = [row for index in range(FIRST + 1, FIRST + 4) for row in universe.rows(index, "1", "2")]
    ledger = anew.rebuild(rows, universe.bars.part(0, FIRST + 4))
    if controller.document.challenger is not None:
        assert repr(controller.current_run().ledger.summary()) == repr(ledger.summary())
