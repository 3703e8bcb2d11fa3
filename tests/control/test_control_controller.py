"""The controller takes one legal step a bar, on evidence, and survives its own end."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, RolloutConflictError
from alphaloop.journal.store import Journal
from alphaloop.market import to_datetime
from alphaloop.rollout import Override, RolloutKind, RolloutState
from control import operations
from control.controller import RolloutController
from control.transition import CONTROL_STREAM, TRANSITION, Outcome, Transition
from serving.prediction_log import PredictionLog

from .conftest import Universe

FIRST = 2_500
DRILL = Override(name="drill", by="test", reason="to see it taken out")


def _controller(universe: Universe) -> RolloutController:
    paths = universe.settings.paths
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    return operations.make_controller(
        universe.settings, universe.settings.serving.model, journal, universe.registry
    )


def _play(
    controller: RolloutController, universe: Universe, bars: int, first: int = FIRST, **changes: float
) -> list[Transition]:
    steps = []
    for index in range(first + 1, first + 1 + bars):
        rows = universe.rows(index, "1", "2", **changes)
        as_of = to_datetime(universe.bars.timestamps[index])
        step = controller.on_bar(as_of, rows, universe.bars.between(end=as_of))
        if step is not None:
            steps.append(step)
    return steps


def _start(controller: RolloutController, universe: Universe) -> None:
    controller.start(
        "2", to_datetime(universe.bars.timestamps[FIRST]), override=DRILL, kind=RolloutKind.SABOTAGE
    )


def test_an_honest_challenger_climbs_and_ends_undecided(universe: Universe) -> None:
    """Without evidence either way it goes from shadow through every weight, and the champion stays."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    steps = _play(controller, universe, bars=16)
    assert [(step.state, step.weight) for step in steps[:3]] == [
        (RolloutState.CANARY, 0.05),
        (RolloutState.CANARY, 0.25),
        (RolloutState.CANARY, 0.5),
    ]
    assert steps[-1].outcome is Outcome.UNDECIDED
    assert controller.document.champion == "1"
    assert controller.document.state is RolloutState.STEADY


def test_scores_that_do_not_follow_from_the_file_roll_back_after_one_bar(universe: Universe) -> None:
    """A difference between logged and recomputed scores ends the rollout at once, and says so."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    (step,) = _play(controller, universe, bars=3, shift=0.01)
    assert (step.outcome, step.layer, step.bars) == (Outcome.ROLLED_BACK, "recomputation", 1)
    assert step.override is not None
    assert step.override["name"] == "drill"


def test_a_challenger_that_cannot_answer_is_out(universe: Universe) -> None:
    """A failed answer is a fault of the challenger and no evidence against the champion."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    index = FIRST + 1
    nothing = np.full(len(universe.bars.symbols), np.nan)
    rows = [
        universe.row(index, "1", "champion", universe.scores["1"][index]),
        universe.row(index, "2", "shadow", nothing, error="the session failed"),
    ]
    as_of = to_datetime(universe.bars.timestamps[index])
    step = controller.on_bar(as_of, rows, universe.bars.between(end=as_of))
    assert step is not None
    assert step.layer == "guard"


def test_a_bar_that_nobody_logged_moves_nothing(universe: Universe) -> None:
    """Without both versions' answers there is no evidence and no step."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    index = FIRST + 1
    as_of = to_datetime(universe.bars.timestamps[index])
    only = universe.rows(index, "1", "2")[:1]
    assert controller.on_bar(as_of, only, universe.bars.between(end=as_of)) is None
    assert controller.document.state is RolloutState.SHADOW


def test_a_controller_that_was_killed_goes_on_where_it_was(universe: Universe) -> None:
    """A new controller, given the log, has the same evidence and takes the same steps."""
    first = _controller(universe)
    first.crown("1")
    _start(first, universe)
    whole = _play(first, universe, bars=4)
    logged = [row for index in range(FIRST + 1, FIRST + 5) for row in universe.rows(index, "1", "2")]
    second = _controller(universe)
    rebuilt = second.rebuild(logged, universe.bars)
    assert rebuilt.summary() == next(iter(first.ledgers.values())).summary()
    assert rebuilt.bars == 4
    rest = _play(second, universe, bars=11, first=FIRST + 4)
    assert [step.weight for step in whole + rest[:-1]] == [0.05, 0.25, 0.5]
    assert rest[-1].outcome is Outcome.UNDECIDED


def test_a_second_controller_cannot_write_over_the_first(universe: Universe) -> None:
    """A rollout that another controller started is not started over."""
    one, other = _controller(universe), _controller(universe)
    one.crown("1")
    with pytest.raises(RolloutConflictError):
        other.crown("2")
    _start(one, universe)
    with pytest.raises(RolloutConflictError, match="end that rollout first"):
        _start(other, universe)


def test_what_the_gate_refused_needs_a_named_override(universe: Universe) -> None:
    """Without an override a refused version is not started, and the refusal is repeated."""
    controller = _controller(universe)
    controller.crown("1")
    refused = not universe.registry.card(controller.model, "2").passed
    assert refused, "this universe's challenger is expected to be refused"
    with pytest.raises(InputError, match="the gate refused version 2"):
        controller.start("2", to_datetime(universe.bars.timestamps[FIRST]))
    with pytest.raises(InputError, match="is the champion already"):
        controller.start("1", to_datetime(universe.bars.timestamps[FIRST]), override=DRILL)


def test_every_step_is_journaled_with_its_evidence(universe: Universe) -> None:
    """The control stream holds each transition, in order, with figures and reason."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    _play(controller, universe, bars=3, shift=1.0)
    paths = universe.settings.paths
    with Journal(paths.journal, paths.anchors, SystemClock()) as journal:
        bodies = [record.body for record in journal.records(CONTROL_STREAM, TRANSITION)]
    assert [body["outcome"] for body in bodies] == [None, None, "rolled_back"]
    assert bodies[-1]["evidence"]["recomputation_max_abs_diff"] == pytest.approx(1.0, abs=1e-3)
    assert bodies[1]["override"]["reason"] == DRILL.reason


def test_an_operator_sees_the_evidence_and_can_end_a_rollout(universe: Universe) -> None:
    """Status recomputes the evidence from the log; promote and abort are journaled with who and why."""
    settings, model = universe.settings, universe.settings.serving.model
    with pytest.raises(MissingStateError, match="no champion yet"):
        operations.status(settings, model)
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    log = PredictionLog(settings.paths.prediction_log)
    log.start()
    for index in range(FIRST + 1, FIRST + 4):
        for row in universe.rows(index, "1", "2"):
            log.put(row)
    log.close()
    status = operations.status(settings, model)
    assert status["state"] == "shadow"
    assert status["evidence"]["bars"] == 3
    assert set(status["bounds_log10_e"]) >= {"behaviour", "cost", "ic", "pnl"}
    step = operations.abort(settings, model, reason="enough seen", by="operator")
    assert (step.outcome, step.by) == (Outcome.ROLLED_BACK, "operator")
    with pytest.raises(InputError, match="no rollout"):
        operations.promote(settings, model, reason="again", by="operator")
    operations.start(settings, model, "2", override=DRILL)
    assert operations.promote(settings, model, reason="trusted", by="operator").outcome is Outcome.PROMOTED
    assert operations.status(settings, model)["champion"] == "2"
