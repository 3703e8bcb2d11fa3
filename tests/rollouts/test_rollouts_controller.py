"""The controller takes one legal step a bar, on evidence, and survives its own end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, RolloutConflictError
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import Override, RolloutKind, RolloutState
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from features.feature_set import DEFAULT
from models.evaluation.rank_agreement import rank_agreement
from rollouts import operations
from rollouts.controller import RolloutController
from rollouts.evidence.expected_ranges import ranges_from_card
from rollouts.evidence.guards import Guards
from rollouts.evidence.observation import ObservationBuilder
from rollouts.evidence.score_parity import ScoreRecomputation
from rollouts.transition import ROLLOUT_TRANSITION, RolloutOutcome, Transition
from serving.log.prediction_log import PredictionLog

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
    assert steps[-1].outcome is RolloutOutcome.UNDECIDED
    assert controller.document.champion == "1"
    assert controller.document.state is RolloutState.STEADY


def test_scores_that_do_not_follow_from_the_file_roll_back_after_one_bar(universe: Universe) -> None:
    """A difference between logged and recomputed scores ends the rollout at once, and says so."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    (step,) = _play(controller, universe, bars=3, shift=0.01)
    assert (step.outcome, step.layer, step.bars) == (RolloutOutcome.ROLLED_BACK, "recomputation", 1)
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
    assert rest[-1].outcome is RolloutOutcome.UNDECIDED


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
        bodies = [record.body for record in journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)]
    assert [body["outcome"] for body in bodies] == [None, None, "rolled_back"]
    assert bodies[-1]["evidence"]["recomputation_max_abs_diff"] == pytest.approx(1.0, abs=1e-3)
    assert bodies[1]["override"]["reason"] == DRILL.reason


def test_an_operator_sees_the_evidence_and_can_end_a_rollout(universe: Universe) -> None:
    """Status recomputes the evidence from the log; promote and abort are journaled with who and why."""
    settings, model = universe.settings, universe.settings.serving.model
    with pytest.raises(MissingStateError, match="no champion yet"):
        operations.rollout_status(settings, model)
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    log = PredictionLog(settings.paths.prediction_log)
    log.start()
    for index in range(FIRST + 1, FIRST + 4):
        for row in universe.rows(index, "1", "2"):
            log.put(row)
    log.close()
    status = operations.rollout_status(settings, model)
    assert status["state"] == "shadow"
    assert status["evidence"]["bars"] == 3
    assert set(status["bounds_log10_e"]) >= {"behaviour", "cost", "ic", "pnl"}
    step = operations.abort_rollout(settings, model, reason="enough seen", by="operator")
    assert (step.outcome, step.by) == (RolloutOutcome.ROLLED_BACK, "operator")
    with pytest.raises(InputError, match="no rollout"):
        operations.promote_challenger(settings, model, reason="again", by="operator")
    operations.start_rollout(settings, model, "2", override=DRILL)
    assert (
        operations.promote_challenger(settings, model, reason="trusted", by="operator").outcome
        is RolloutOutcome.PROMOTED
    )
    assert operations.rollout_status(settings, model)["champion"] == "2"


def test_a_controller_that_comes_late_makes_the_decisions_that_are_due(universe: Universe) -> None:
    """What a dead controller had no time to decide is decided from the log, at the bars it belongs to."""
    steady, late = universe, _controller(universe)
    late.crown("1")
    _start(late, universe)
    logged = [row for index in range(FIRST + 1, FIRST + 17) for row in steady.rows(index, "1", "2")]
    steps = _controller(universe).catch_up(logged, universe.bars)
    assert [step.weight for step in steps] == [0.05, 0.25, 0.5, 0.0]
    assert [step.bars for step in steps] == [2, 5, 8, 15]
    assert steps[-1].outcome is RolloutOutcome.UNDECIDED
    assert _controller(universe).catch_up(logged, universe.bars) == []


def test_a_controller_without_memory_reads_the_log_before_it_judges(universe: Universe) -> None:
    """A new process that is given the next bar has all bars before it in its evidence."""
    first = _controller(universe)
    first.crown("1")
    _start(first, universe)
    log = PredictionLog(universe.settings.paths.prediction_log)
    log.start()
    for index in range(FIRST + 1, FIRST + 5):
        for row in universe.rows(index, "1", "2"):
            log.put(row)
    log.close()
    second = _controller(universe)
    _play(second, universe, bars=1, first=FIRST + 4)
    assert next(iter(second.ledgers.values())).bars == 5
    assert second.document.weight == 0.25


def test_a_comparison_keeps_its_share_and_gives_the_champion_back(universe: Universe) -> None:
    """Any two versions at any share: nothing is promoted by it, and the old champion returns at the end."""
    controller = _controller(universe)
    controller.crown("1")
    as_of = to_datetime(universe.bars.timestamps[FIRST])
    with pytest.raises(InputError, match=r"a share in \(0, 1\)"):
        controller.start("2", as_of, override=DRILL, kind=RolloutKind.AB)
    with pytest.raises(InputError, match="the gate refused version 2"):
        controller.start("1", as_of, kind=RolloutKind.AB, share=0.3, against="2")
    with pytest.raises(InputError, match="version 2 of 'equities' would be compared with itself"):
        controller.start("2", as_of, override=DRILL, kind=RolloutKind.AB, share=0.3, against="2")
    document = controller.start("1", as_of, override=DRILL, kind=RolloutKind.AB, share=0.3, against="2")
    assert (document.state, document.weight, document.champion) == (RolloutState.CANARY, 0.3, "2")
    assert len(plan_sleeves(document, sleeve_names(20)).canary) == 6
    steps = []
    for index in range(FIRST + 1, FIRST + 17):
        moment = to_datetime(universe.bars.timestamps[index])
        rows = universe.rows(index, "2", "1")
        step = controller.on_bar(moment, rows, universe.bars.between(end=moment))
        steps += [step] if step else []
    (ended,) = steps
    assert (ended.outcome, ended.bars, ended.kind) == (RolloutOutcome.UNDECIDED, 15, RolloutKind.AB)
    assert controller.document.champion == "1"
    assert controller.document.state is RolloutState.STEADY


def test_slow_and_stale_answers_end_a_rollout(universe: Universe) -> None:
    """Features older than the bar, or a p99 beyond its limit, are the guard's; both limits are settings."""
    for changes, words in (
        ({"feature_timestamp": timedelta(days=-1)}, "older than the bar"),
        ({"latency_ms": 900.0}, "p99 of 100 answers is 900 ms"),
    ):
        guards = Guards(max_latency_ms=250.0, max_staleness_seconds=0.0)
        as_of = to_datetime(universe.bars.timestamps[FIRST])
        rows = [universe.row(FIRST, "2", "canary", universe.scores["2"][FIRST])] * 100
        assert guards.check(as_of, rows[:99]) == ""
        moved = {
            name: as_of + value if isinstance(value, timedelta) else value for name, value in changes.items()
        }
        guards = Guards(max_latency_ms=250.0, max_staleness_seconds=0.0)
        assert words in guards.check(as_of, [replace(row, **moved) for row in rows])
        both = [replace(row, **moved) for row in rows]
        assert Guards(250.0, 0.0).check(as_of, both, both) == "", "the champion is no better"
        lenient = Guards(max_latency_ms=1_000.0, max_staleness_seconds=100_000.0)
        assert lenient.check(as_of, [replace(row, **moved) for row in rows]) == ""


def test_a_few_slow_answers_are_a_fault_only_where_chance_does_not_explain_them(universe: Universe) -> None:
    """One answer a bar: a slow challenger is found at its third bar, a machine that stalls twice is not."""
    as_of = to_datetime(universe.bars.timestamps[FIRST])
    row = universe.row(FIRST, "2", "canary", universe.scores["2"][FIRST])
    slow = replace(row, latency_ms=900.0)
    guards = Guards(max_latency_ms=250.0, max_staleness_seconds=0.0)
    said = [guards.check(as_of, [slow], [row]) for _ in range(3)]
    assert said[:2] == ["", ""]
    assert said[2] == "3 of 3 answers took longer than 250 ms (rollout.max_latency_ms is 250)"
    guards = Guards(max_latency_ms=250.0, max_staleness_seconds=0.0)
    assert not any(guards.check(as_of, [slow if bar in (3, 40) else row], [row]) for bar in range(99))


def test_a_stale_challenger_is_rolled_back_by_the_guard(universe: Universe) -> None:
    """The guard's finding is the verdict and is journaled in words."""
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    index = FIRST + 1
    as_of = to_datetime(universe.bars.timestamps[index])
    champion, challenger = universe.rows(index, "1", "2")
    late = replace(challenger, feature_timestamp=as_of - timedelta(hours=1))
    step = controller.on_bar(as_of, [champion, late], universe.bars.between(end=as_of))
    assert step is not None
    assert (step.outcome, step.layer) == (RolloutOutcome.ROLLED_BACK, "guard")
    assert "3,600 s older" in step.reason


def test_status_says_what_the_stage_waits_for_and_what_would_end_it(universe: Universe) -> None:
    """State, bars left, distance of each test from its bound, and whether the duration can decide."""
    settings, model = universe.settings, universe.settings.serving.model
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    log = PredictionLog(settings.paths.prediction_log)
    log.start()
    for row in universe.rows(FIRST + 1, "1", "2"):
        log.put(row)
    log.close()
    told = operations.rollout_status(settings, model)
    assert told["stage"]["bars_left_at_least"] == 1
    assert told["stage"]["bars_left_at_most"] == 14
    assert told["stage"]["next_weight"] == 0.05
    assert set(told["ends_when"]) == {"history", "behaviour", "cost", "ic", "pnl", "ic_better", "pnl_better"}
    assert all(one["log10_e"] < one["bound"] for one in told["ends_when"].values())
    assert told["power"]["power"] < 0.5


def test_a_start_that_cannot_decide_is_warned_of(universe: Universe) -> None:
    """Fifteen bars do not find 0.2 standard deviations, and the warning says how many would."""
    warning = operations.power_warning(universe.settings)
    assert "15 bars find a challenger that is worse by 0.2 standard deviations a bar in 0%" in warning
    rollout = universe.settings.rollout.model_copy(update={"max_bars": 1_000})
    longer = universe.settings.model_copy(update={"rollout": rollout})
    assert operations.power_warning(longer) == ""
    endless = rollout.model_copy(update={"shadow_bars": 990, "stage_bars": 5})
    warning = operations.power_warning(universe.settings.model_copy(update={"rollout": endless}))
    assert "take 1,000 bars" in warning and "nothing is ever promoted" in warning


def test_a_challenger_is_looked_at_on_the_bars_after_its_training(universe: Universe) -> None:
    """Those bars cost no time, start after its last label, end before the rollout, and are recomputed."""
    card = universe.registry.card(universe.settings.serving.model, "2")
    early = replace(card, train_last=to_datetime(universe.bars.timestamps[FIRST - 40]).isoformat())
    controller = _controller(universe)
    controller.crown("1")
    _start(controller, universe)
    witness = ObservationBuilder(ScoreRecomputation(universe.registry, DEFAULT), Guards(250.0, 0.0))
    past = list(witness.past(controller.document, early, universe.bars))
    assert past[0].as_of == to_datetime(universe.bars.timestamps[FIRST - 40 + card.horizon + 2])
    assert past[-1].as_of == to_datetime(universe.bars.timestamps[FIRST])
    np.testing.assert_allclose(past[-1].challenger, universe.scores["2"][FIRST], atol=1e-6)
    assert list(witness.past(controller.document, card, universe.bars)) == []


def test_a_card_says_how_alike_it_ranks_with_that_champion(universe: Universe) -> None:
    """The range is of the walk-forward tests and the champion's own file, and holds for no other champion."""
    champion, challenger = (
        universe.registry.card(universe.settings.serving.model, version) for version in ("1", "2")
    )
    agreed = rank_agreement(_scored(universe, "1"), universe.frame, champion, universe.registry)
    assert agreed is not None
    assert agreed["q01"] == pytest.approx(1.0)
    ranges = {**challenger.ranges, "agreement": agreed}
    of_this = ranges_from_card(replace(challenger, ranges=ranges), champion)
    assert of_this.agreement is not None
    assert ranges_from_card(replace(challenger, ranges=ranges), challenger).agreement is None


def _scored(universe: Universe, version: str) -> np.ndarray:
    scores = np.full(universe.scores[version].shape, np.nan)
    scores[FIRST : FIRST + 30] = universe.scores[version][FIRST : FIRST + 30]
    return scores
