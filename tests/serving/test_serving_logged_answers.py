"""The log's rows as distinct answers: what was logged several times counts once, what differs stays apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.rollout_document import RolloutState
from alphaloop.sleeve_plan import sleeve_names
from serving.log.logged_answers import LoggedAnswer, distinct_answers, widest_answer
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow
from serving.protocol.messages import InferenceRequest

BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)
MARKET = ("A", "B", "C", "D")
SLEEVES = sleeve_names(20)


def row(number: int = 0, **changes: Any) -> PredictionRow:
    """A row for all sleeves; `number` makes its id and the time of logging."""
    made = PredictionRow(
        prediction_id=f"p-{number}", logged_at=BAR + timedelta(seconds=number), as_of=BAR,
        feature_timestamp=BAR, model="equities", version="1", digest="d", route="champion",
        route_keys=SLEEVES, symbols=MARKET, scores=(0.5, -0.25, float("nan"), 0.1),
        statuses=("ok", "ok", "missing", "ok"), features=np.ones((4, 2), np.float32), input_hash="h",
        feature_set="f", snapshot="s", generation=3, latency_ms=0.5 + number,
    )  # fmt: skip
    return replace(made, **changes)


def few(whole: PredictionRow, count: int, **changes: Any) -> PredictionRow:
    """The answer to a stranger that asks for the first symbols only, under no route key."""
    return replace(
        whole, route_keys=("",), symbols=whole.symbols[:count], scores=whole.scores[:count],
        statuses=whole.statuses[:count], features=whole.features[:count], **changes,
    )  # fmt: skip


def widest(answers: list[LoggedAnswer]) -> LoggedAnswer | None:
    """The widest answer on the market."""
    return widest_answer(answers, lambda version: MARKET)


def test_twenty_rows_of_before_are_one_answer() -> None:
    """A log with one request a sleeve gives one answer with all sleeves, as one request for all does."""
    before = [row(number, route_keys=(sleeve,)) for number, sleeve in enumerate(SLEEVES)]
    (answer,) = distinct_answers(before)
    assert answer.route_keys == SLEEVES
    assert answer.rows == tuple(before)
    (now,) = distinct_answers([row()])
    assert (now.route_keys, now.version, now.as_of) == (answer.route_keys, answer.version, answer.as_of)


def test_a_retry_counts_once() -> None:
    """A client whose first answer was lost asks again: one answer, each sleeve once, both runs measured."""
    (answer,) = distinct_answers([row(0), row(1)])
    assert answer.route_keys == SLEEVES
    assert [one.latency_ms for one in answer.rows] == [0.5, 1.5]


def test_a_hedged_copy_on_another_server_counts_once(tmp_path: Path) -> None:
    """Two servers log one request, of which the second knew an older rollout document: one answer."""
    for number in range(2):
        log = PredictionLog(tmp_path)
        log.start()
        log.put(row(number, generation=3 - number))
        log.close()
    rows = PredictionLogReader(tmp_path, "equities").new()
    assert len(rows) == 2
    (answer,) = distinct_answers(rows)
    assert [one.generation for one in answer.rows] == [3, 2]


@pytest.mark.parametrize("input_hash", ["h", "other"], ids=["scored whole", "own inputs"])
def test_a_request_of_a_stranger_stays_apart(input_hash: str) -> None:
    """Two symbols asked for by hand are an answer of their own, and do not stand for the version."""
    whole = row(0)
    answers = distinct_answers([whole, few(whole, 2, input_hash=input_hash, prediction_id="stranger")])
    assert [answer.last.prediction_id for answer in answers] == ["p-0", "stranger"]
    assert answers[1].route_keys == ("",)
    chosen = widest(answers)
    assert chosen is not None and chosen.last is whole


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2"},
        {"as_of": BAR + timedelta(days=1)},
        {"input_hash": "other"},
        {"scores": (0.5, -0.25, float("nan"), 0.2)},
        {"error": "the session failed"},
    ],
    ids=str,
)
def test_answers_that_differ_stay_apart(changes: dict[str, Any]) -> None:
    """Another version, bar, input hash, score or failure is another answer."""
    assert len(distinct_answers([row(0), row(1, **changes)])) == 2


def test_the_last_of_the_widest_answers_is_chosen() -> None:
    """Of two answers to all symbols the one that was logged last stands for the version."""
    answers = distinct_answers([row(0), row(1, input_hash="revised"), few(row(2), 1)])
    chosen = widest(answers)
    assert chosen is not None and chosen.last.input_hash == "revised"
    again = widest(distinct_answers([row(0), row(1, input_hash="revised"), row(2)]))
    assert again is not None and again.last.prediction_id == "p-2"
    assert widest([]) is None


def test_an_unknown_universe_counts_all_symbols() -> None:
    """Where a version's universe is not known, the answer to most symbols is the widest."""
    whole = row(0)
    chosen = widest_answer(distinct_answers([whole, few(row(1), 3)]), lambda version: ())
    assert chosen is not None and chosen.last is whole


def test_a_version_that_answers_and_shadows_gave_one_answer() -> None:
    """Rows of both roles on the same inputs are one answer, which knows both roles."""
    shadow = row(1, route="shadow", route_keys=SLEEVES[:5])
    (answer,) = distinct_answers([row(0, route_keys=SLEEVES[5:]), shadow])
    assert answer.routes == {"champion", "shadow"}
    assert set(answer.route_keys) == set(SLEEVES)


def test_inputs_of_a_client_are_no_answer_at_a_bar() -> None:
    """Rows of panels that clients sent, and rows without a bar, are left out."""
    assert distinct_answers([row(0, symbols=()), row(1, as_of=None)]) == []


def test_one_request_and_twenty_leave_the_same_answers(shelf: Any, serve: Callable[..., Any]) -> None:
    """A bar has the same answers in the log, whether its sleeves were asked for together or one by one."""
    shelf.route(
        champion=shelf.add(1.0, 0.0, 0.0), challenger=shelf.add(0.0, 1.0, 0.0),
        state=RolloutState.CANARY, weight=0.25, salt="x",
    )  # fmt: skip
    served = serve(shelf)
    request = InferenceRequest(shelf.name, symbols=served.world.symbols, as_of=served.world.bar)
    for sleeve in SLEEVES:
        served.core.infer(replace(request, route_key=sleeve))
    alone = distinct_answers(served.rows(40))
    served.core.infer(replace(request, route_keys=SLEEVES))
    together = distinct_answers(served.rows(2))
    for answers in (alone, together):
        answers.sort(key=lambda answer: answer.version)
    assert [answer.version for answer in alone] == [answer.version for answer in together] == ["1", "2"]
    for one, other in zip(alone, together, strict=True):
        assert len(one.rows) == 20 and len(other.rows) == 1
        assert (one.last.scores, one.last.input_hash) == (other.last.scores, other.last.input_hash)
        assert set(other.route_keys) <= set(one.route_keys) == set(SLEEVES)
