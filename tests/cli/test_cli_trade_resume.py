"""What is to be traded next follows from the journal: a run that ended anywhere is gone on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import Slice, to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.errors import InputError
from alphaloop.forecasts import RoutedForecasts
from alphaloop.journal.store import Journal
from alphaloop.settings import settings
from alphaloop.settings.settings import Settings
from cli.commands import trade
from loop import workspace
from loop.market import market_to_trade
from loop.turn import ReplayMarket
from marketdata.storage.snapshots import SnapshotStore
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.progress import SESSION_KIND, session_body
from trading.recovery import restore_engine
from trading.risk.risk_check import RiskCheck, RiskLimits

DAYS = np.arange("2020-01-02", "2020-01-15", dtype="datetime64[D]")
SESSIONS = [str(day) for day in DAYS if np.is_busday(day)]
KNOWN = 3
SPLIT = "2020-01-09"
REPLAY = "2020-01-07:2020-01-14"
POINTS = {
    "the bar was stored": ("store", "before"),
    "the split was journaled": ("_follow", "after"),
    "fills were journaled": ("_settle", "after"),
    "the forecasts failed": ("_ask", "before"),
    "the decision was journaled": ("_journal", "after"),
}


class CutError(Exception):
    """Stands for whatever ends a run: a kill, a full disk, a fault."""


@dataclass
class Answers:
    """Scores of every bar, which name the stored data that the bar is in, as a server's do."""

    scores: ArrayForecaster
    snapshot: str = ""

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        answer = replace(self.scores.forecast(symbols, as_of), snapshot=self.snapshot)
        return RoutedForecasts(dict.fromkeys(sleeves, answer))


class Desk:
    """A workspace over a folder of bars, with a split in them, and runs that end where they are told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.file = folder / "bars" / "bars.csv"
        self.file.parent.mkdir(parents=True)
        self.write(KNOWN)
        workspace.take_snapshot(self.chosen)
        self.write(len(SESSIONS))

    @property
    def chosen(self) -> Settings:
        self.monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", f"folder:{self.file.parent}")
        return settings.load_settings(home=self.folder / "home")

    def write(self, count: int, factor: float = 1.0) -> None:
        """Let the source have its first `count` sessions, at prices times `factor`."""
        lines = ["symbol,date,close,adjustment"]
        for number, day in enumerate(SESSIONS[:count]):
            units = 2 if day >= SPLIT else 1
            lines.append(f"KO,{day},{factor * (50 + number) / units},{units}")
            lines.append(f"PEP,{day},{factor * (90 - number * number)},1")
        self.file.write_text("\n".join(lines) + "\n")

    def journal(self, clock: ReplayClock | None = None) -> Journal:
        paths = self.chosen.paths
        clock = clock or ReplayClock(datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
        return Journal(paths.journal, paths.anchors, clock)

    def market(self, replay: str = REPLAY) -> ReplayMarket:
        return trade._market(self.chosen, replay)

    def run(
        self, replay: str = REPLAY, cut: Callable[[TradingEngine, Slice], None] | None = None
    ) -> ReplayMarket:
        """Trade as the command does, without features and server; `cut` may end the run at a bar."""
        market, store = self.market(replay), SnapshotStore(self.chosen.paths.snapshots)
        clock = ReplayClock(to_datetime(market.past.timestamps[-1]))
        every = market.past.then(market.future)
        scores = np.random.default_rng(1).normal(size=(len(SESSIONS), 2))[: len(every)]
        answers = Answers(ArrayForecaster(every.timestamps, every.symbols, scores))
        with self.journal(clock) as journal, journal.writer("trading") as writer:
            writer.append(
                SESSION_KIND, session_body(market.source, market.snapshot.id, market.snapshot.last, None)
            )
            engine = TradingEngine(
                every.symbols,
                PaperBroker(CostModel()),
                answers,
                AllocationStrategy(),
                RiskCheck(RiskLimits(prediction_deadline_ms=None)),
                CostModel(),
                sleeves=("sleeve-00", "sleeve-01"),
                capital=100_000,
                clock=clock,
                journal_writer=writer,
                simulated=False,
            )
            restore_engine(engine, journal.records("trading"), market.past)
            answers.snapshot = market.snapshot.id
            for bars in market.future.slices():
                clock.advance(bars.timestamp)
                answers.snapshot = store.append(answers.snapshot, bars.to_table()).id
                if cut:
                    cut(engine, bars)
                engine.on_bar(bars)
        return market

    def trail(self) -> list[tuple[str, dict[str, Any]]]:
        """What was journaled, in order, but for the identities of data: each folder has its own."""
        with self.journal() as journal:
            kinds = {"decision", "order", "fill", "cross", "corporate_action"}
            trail = [(one.kind, one.body) for one in journal.records("trading") if one.kind in kinds]
        for _, body in trail:
            for answer in body.get("answers", ()):
                assert answer.pop("snapshot")
        return trail


def cut_at(day: str, point: str) -> Callable[[TradingEngine, Slice], None]:
    """End the run in the middle of the bar of `day`."""
    name, moment = POINTS[point]

    def cut(engine: TradingEngine, bars: Slice) -> None:
        if bars.timestamp.date().isoformat() != day:
            return
        if name == "store":
            raise CutError
        real = getattr(engine, name)

        def wrapped(*given: Any, **named: Any) -> Any:
            if moment == "after":
                real(*given, **named)
            raise CutError

        setattr(engine, name, wrapped)

    return cut


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A workspace that knows three sessions, over a source that has them all."""
    return Desk(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """The trail of a run that nothing ended."""
    with pytest.MonkeyPatch.context() as patched:
        steady = Desk(tmp_path_factory.mktemp("whole"), patched)
        steady.run()
        return steady.trail()


@pytest.mark.parametrize("day", ["2020-01-07", "2020-01-09"])
@pytest.mark.parametrize("point", POINTS)
def test_the_same_command_goes_on_wherever_a_run_ended(desk, whole, point, day):
    """Cut off in the first bar or a later one, the run is repeated and its journal is that of a whole one."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at(day, point))
    desk.run()
    assert desk.trail() == whole


@pytest.mark.parametrize("restated", [1.0, 0.5])
def test_a_build_in_between_changes_nothing_of_what_is_traded(desk, whole, restated):
    """A snapshot of the whole history, restated or not, neither skips bars nor mixes two histories."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-09", "the bar was stored"))
    desk.write(len(SESSIONS), restated)
    workspace.take_snapshot(desk.chosen)
    desk.write(len(SESSIONS))
    desk.run()
    assert desk.trail() == whole


def test_days_that_begin_later_skip_no_bar_that_nobody_decided(desk, whole):
    """A book goes on with the bar after its last decision, wherever the days that are named begin."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-08", "the bar was stored"))
    desk.run("2020-01-13:2020-01-14")
    assert desk.trail() == whole


def test_without_days_all_bars_after_the_last_decision_are_traded(desk, whole):
    """Bars that a run stored and did not decide are new to the book, though not to the workspace."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-14", "the bar was stored"))
    desk.run("")
    assert desk.trail() == whole


def test_a_bar_is_stored_again_under_the_same_identity(desk):
    """What was stored and not decided is taken from the store, so that no second line of data begins."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-09", "the bar was stored"))
    store = SnapshotStore(desk.chosen.paths.snapshots)
    before = {one.id for one in store.stored()}
    # The source says otherwise by now.
    desk.write(len(SESSIONS), 0.5)
    market = desk.market("2020-01-07:2020-01-09")
    assert market.resumed
    assert [str(time)[:10] for time in market.future.timestamps] == ["2020-01-09"]
    assert market.future.close[0, 0] == (50 + SESSIONS.index(SPLIT)) / 2
    assert {one.id for one in store.stored()} == before
    assert market.snapshot.last == to_datetime(market.past.timestamps[-1])
    assert store.append(market.snapshot.id, market.future.to_table()).id in before


def test_a_journal_without_sessions_is_gone_on_from(desk):
    """Decisions that name no data, as refused ones do, are gone on from with the newest stored bars."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-09", "the bar was stored"))
    progress = trade._progress(desk.chosen)
    assert progress is not None
    bare = replace(progress, snapshots=("", "0" * 64))
    market = market_to_trade(desk.chosen, trade._days_of(REPLAY, "XNYS"), bare)
    assert [str(time)[:10] for time in market.future.timestamps] == SESSIONS[SESSIONS.index("2020-01-09") :]
    assert market.snapshot.last == progress.decided


def test_a_book_that_has_decided_all_says_so(desk):
    """After the last bar, the same command finds nothing to do, and orders nothing again."""
    desk.run()
    before = desk.trail()
    for replay in (REPLAY, "2020-01-07:2020-01-09", "2020-01-02:2020-01-03"):
        with pytest.raises(InputError, match="no bar is new: the bars up to 2020-01-14"):
            desk.market(replay)
    assert desk.trail() == before


def test_a_new_book_does_not_begin_in_what_was_learned_from(desk):
    """Without a decision the days must still follow what the workspace knew when the book was opened."""
    with pytest.raises(CutError):
        desk.run(cut=cut_at("2020-01-07", "the bar was stored"))
    with pytest.raises(InputError, match="begins before 2020-01-06"):
        desk.market("2020-01-06:2020-01-14")
    assert desk.market("2020-01-08:2020-01-14").future.timestamps[0] > np.datetime64("2020-01-08")
