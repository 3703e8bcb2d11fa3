"""What the controller takes of the log: answers for the market's symbols, whoever else asked for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.universe_mask import MEMBER_COLUMN
from features.feature_set import DEFAULT
from monitoring.drift_check import live_features
from rollouts import operations
from rollouts.controller import RolloutController
from rollouts.evidence.guards import Guards
from rollouts.evidence.observation import ObservationBuilder
from rollouts.evidence.score_parity import ScoreRecomputation
from rollouts.transition import RolloutOutcome, Transition
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow

from .conftest import Universe
from .test_rollouts_controller import FIRST, _controller, _start

ROWS = list[PredictionRow]


@pytest.fixture
def controller(universe: Universe) -> RolloutController:
    """Version 2 is in the shadow of version 1 from the bar `FIRST` on."""
    made = _controller(universe)
    made.crown("1")
    _start(made, universe)
    return made


def _see(universe: Universe, controller: RolloutController, index: int, rows: ROWS) -> Transition | None:
    as_of = to_datetime(universe.bars.timestamps[index])
    return controller.on_bar(as_of, rows, universe.bars.between(end=as_of))


def _few(row: PredictionRow, count: int) -> PredictionRow:
    """What a client gets that asks for the first symbols only."""
    return replace(
        row, symbols=row.symbols[:count], scores=row.scores[:count], statuses=row.statuses[:count],
        features=row.features[:count],
    )  # fmt: skip


def _masked(row: PredictionRow, place: int) -> PredictionRow:
    """The answer where the store lacked a symbol's inputs."""
    scores, statuses = list(row.scores), list(row.statuses)
    scores[place], statuses[place] = float("nan"), "missing"
    return replace(row, scores=tuple(scores), statuses=tuple(statuses))


def test_a_score_that_only_the_challenger_lacks_rolls_it_back(
    universe: Universe, controller: RolloutController
) -> None:
    """Its file has a score there and the log has none: that is journaled, in words, and ends the rollout."""
    rows = universe.rows(FIRST + 1, "1", "2")
    step = _see(universe, controller, FIRST + 1, [rows[0], _masked(rows[1], 3)])
    assert step is not None
    assert (step.outcome, step.layer) == (RolloutOutcome.ROLLED_BACK, "recomputation")
    assert "has a score where the log has none" in step.reason
    assert step.body()["evidence"]["recomputation_max_abs_diff"] is None
    assert controller.document.state is RolloutState.STEADY


def test_a_score_that_the_champion_lacks_as_well_is_no_fault(
    universe: Universe, controller: RolloutController
) -> None:
    """The store had no inputs of that symbol then, for neither: the rest is compared, and it goes on."""
    rows = [_masked(row, 3) for row in universe.rows(FIRST + 1, "1", "2")]
    assert _see(universe, controller, FIRST + 1, rows) is None
    assert controller.document.state is RolloutState.SHADOW
    one, other = universe.rows(FIRST + 2, "1", "2")
    step = _see(universe, controller, FIRST + 2, [_masked(one, 3), _masked(_masked(other, 3), 4)])
    assert step is not None and step.layer == "recomputation"


def test_inputs_that_a_client_sent_are_no_evidence(universe: Universe, controller: RolloutController) -> None:
    """Answers to tensors are logged without symbols; status, reconciling and abort go on beside them."""
    rows = universe.rows(FIRST + 1, "1", "2")
    log = PredictionLog(universe.settings.paths.prediction_log)
    log.start()
    for row in (*rows, *(replace(row, symbols=(), prediction_id=f"{row.prediction_id}-x") for row in rows)):
        log.put(row)
    log.close()
    settings, model = universe.settings, universe.settings.serving.model
    assert operations.reconcile_rollout(settings, model) == []
    assert operations.rollout_status(settings, model)["evidence"]["bars"] == 1
    assert operations.abort_rollout(settings, model, "enough", "me").outcome is RolloutOutcome.ROLLED_BACK
    tensors = [replace(row, symbols=(), error="no such shape") for row in rows]
    assert _see(universe, controller, FIRST + 2, tensors) is None


def test_who_asks_for_one_symbol_has_no_say_in_the_rest(universe: Universe) -> None:
    """Of a bar's answers the last of those to most symbols stands for the version, failed ones aside."""
    index, bars = FIRST + 1, universe.bars
    as_of = to_datetime(bars.timestamps[index])
    champion, challenger = universe.rows(index, "1", "2")
    nothing = np.full(len(bars.symbols), np.nan)
    failed = universe.row(index, "1", "champion", nothing, error="overloaded")
    rows = [champion, challenger, _few(champion, 1), _few(challenger, 1), failed]
    witness = ObservationBuilder(ScoreRecomputation(universe.registry, DEFAULT), Guards(250.0, 0.0))
    seen = witness.observe(_document(universe), as_of, rows, bars.between(end=as_of))
    assert seen is not None and seen.errors == 0
    np.testing.assert_allclose(seen.champion, universe.scores["1"][index], atol=1e-6)
    np.testing.assert_allclose(seen.challenger, universe.scores["2"][index], atol=1e-6)


def test_a_failure_counts_once_for_each_sleeve(universe: Universe) -> None:
    """A challenger that failed for two sleeves, one of them asked for again, failed twice."""
    index, bars = FIRST + 1, universe.bars
    as_of = to_datetime(bars.timestamps[index])
    champion, challenger = universe.rows(index, "1", "2")
    nothing = np.full(len(bars.symbols), np.nan)
    failed = universe.row(index, "2", "shadow", nothing, error="overloaded")
    together = replace(failed, route_keys=("sleeve-00", "sleeve-01"))
    alone = [replace(failed, route_keys=(key,)) for key in ("sleeve-00", "sleeve-01", "sleeve-00")]
    document = _document(universe)
    for failures in ([together], alone):
        witness = ObservationBuilder(ScoreRecomputation(universe.registry, DEFAULT), Guards(250.0, 0.0))
        rows = [champion, challenger, *failures]
        seen = witness.observe(document, as_of, rows, bars.between(end=as_of))
        assert seen is not None and seen.errors == 2


def test_observations_name_who_is_no_member(universe: Universe) -> None:
    """Live and past observations carry the members of their bar; bars without members name none."""
    index, bars = FIRST + 1, universe.bars
    as_of = to_datetime(bars.timestamps[index])
    member = np.ones(bars.close.shape)
    member[:, 0] = 0.0
    document, rows = _document(universe), universe.rows(index, "1", "2")
    witness = ObservationBuilder(ScoreRecomputation(universe.registry, DEFAULT), Guards(250.0, 0.0))
    plain = witness.observe(document, as_of, rows, bars.between(end=as_of))
    seen = witness.observe(
        document, as_of, rows, replace(bars, extra={MEMBER_COLUMN: member}).between(end=as_of)
    )
    assert plain is not None and plain.outside is None
    assert seen is not None and seen.outside is not None
    assert np.flatnonzero(seen.outside).tolist() == [0]


def _document(universe: Universe) -> RolloutDocument:
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    return controller.document


def test_a_bar_counts_once(universe: Universe, controller: RolloutController) -> None:
    """The same bar again, or an older one, is no more evidence."""
    rows = universe.rows(FIRST + 1, "1", "2")
    for _ in range(3):
        assert _see(universe, controller, FIRST + 1, rows) is None
    assert controller.current_run().ledger.bars == 1


def test_drift_is_looked_for_in_the_widest_answer(universe: Universe) -> None:
    """A probe for one symbol before the rest, and a client's own inputs, do not stand for the market."""
    champion, _ = universe.rows(FIRST, "1", "2")
    own = replace(champion, symbols=(), features=champion.features * 9)
    other = universe.row(FIRST + 1, "1", Route.CHAMPION, universe.scores["1"][FIRST + 1])
    found = list(live_features([own, _few(champion, 1), champion, _few(other, 2), other]))
    assert [(as_of, features.shape[0]) for as_of, features, _ in found] == [
        (champion.as_of, len(universe.bars.symbols)), (other.as_of, len(universe.bars.symbols)),
    ]  # fmt: skip
    np.testing.assert_array_equal(found[0][1], champion.features)


def test_the_log_is_read_from_the_rollouts_start(universe: Universe) -> None:
    """Rows of earlier bars and of clients' own inputs are not even made."""
    log = PredictionLog(universe.settings.paths.prediction_log)
    log.start()
    for index in range(FIRST - 3, FIRST + 3):
        row, _ = universe.rows(index, "1", "2")
        log.put(row)
        log.put(replace(row, symbols=(), prediction_id=f"{index}-own"))
    log.close()
    folder, model = universe.settings.paths.prediction_log, universe.settings.serving.model
    since = to_datetime(universe.bars.timestamps[FIRST])
    read = PredictionLogReader(folder, model, by_symbols=True, since=since).new()
    assert [row.prediction_id for row in read] == [f"{index}-1" for index in range(FIRST, FIRST + 3)]
    assert len(PredictionLogReader(folder, model).new()) == 12
