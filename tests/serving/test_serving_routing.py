"""Who answers: champion, canary, shadow, fallback; and what happens without the registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import (
    FeatureSetMismatchError,
    MissingStateError,
    ServingError,
    StaleFeaturesError,
    UnknownNameError,
    VendorError,
)
from alphaloop.forecasts import SymbolStatus
from alphaloop.rollout_document import Override, RolloutState
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from models.registry.model_registry import Registry
from serving.inference.model_cache import LoadedModel
from serving.protocol.messages import InferenceRequest, InferenceResponse

Serve = Callable[..., Any]


def ask(served: Any, route_key: str = "sleeve-00", **changes: Any) -> InferenceResponse:
    """One forecast by symbols at the bar that the store holds."""
    request: dict[str, Any] = {
        "model": served.model,
        "symbols": served.world.symbols,
        "as_of": served.world.bar,
        "route_key": route_key,
    }
    answer = served.core.infer(InferenceRequest(**request | changes))
    assert isinstance(answer, InferenceResponse)
    return answer


def test_the_champion_answers_with_its_lineage(shelf: Any, serve: Serve) -> None:
    """In a steady rollout the champion answers, and the answer says everything that lineage needs."""
    champion = shelf.add(1.0, 0.0, 0.0)
    shelf.route(champion=champion)
    served = serve(shelf)
    answer = ask(served)
    card = shelf.registry.card(shelf.name, champion)
    assert answer.scores.tolist() == served.world.last(0)
    assert {**answer.parameters, "prediction_id": "", "input_hash": ""} == {
        "prediction_id": "", "route": "champion", "version": champion, "digest": card.digest,
        "feature_timestamp": served.world.bar.isoformat(), "input_hash": "",
        "feature_set": card.feature_set, "snapshot": served.world.snapshot, "generation": 1,
    }  # fmt: skip
    (row,) = served.rows(1)
    assert row.prediction_id == answer.parameters["prediction_id"]
    assert row.features.tolist() == served.world.panel[:, -1].tolist()


def test_a_shadow_scores_every_request_and_answers_none(shelf: Any, serve: Serve) -> None:
    """In the shadow state the champion answers and the challenger's scores go to the log alone."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW, weight=1.0)
    served = serve(shelf)
    answers = [ask(served, sleeve) for sleeve in sleeve_names(20)]
    assert {answer.version for answer in answers} == {champion}
    rows = served.rows(40)
    assert [row.route for row in rows].count("champion") == [row.route for row in rows].count("shadow") == 20
    shadows = [row for row in rows if row.route == "shadow"]
    assert {row.version for row in shadows} == {challenger}
    assert shadows[0].scores == tuple(served.world.last(1))
    answered = {str(answer.parameters["prediction_id"]) for answer in answers}
    assert {row.prediction_id.removesuffix("/shadow") for row in shadows} == answered


def test_the_answer_does_not_wait_for_the_shadow(
    shelf: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who answers is scored before the answer, the other version and the log come after it."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    scored: list[str] = []
    original = LoadedModel.score

    def score(self: LoadedModel, *arguments: Any) -> Any:
        scored.append(self.version)
        return original(self, *arguments)

    for state, weight, first in (
        (RolloutState.SHADOW, 1.0, champion),
        (RolloutState.CANARY, 1.0, challenger),
    ):
        shelf.route(champion=champion, challenger=challenger, state=state, weight=weight)
        served = serve(shelf)
        monkeypatch.setattr(LoadedModel, "score", score)
        scored.clear()
        waiting: list[Callable[[], None]] = []
        request = InferenceRequest(
            shelf.name, symbols=served.world.symbols, as_of=served.world.bar, route_key="sleeve-00"
        )
        answer = served.core.infer(request, defer=waiting.append)
        assert (answer.version, scored) == (first, [first])
        for call in waiting:
            call()
        assert sorted(scored) == sorted((champion, challenger))
        assert {row.version for row in served.rows(2)} == {champion, challenger}
        monkeypatch.undo()


def test_a_canary_answers_its_sleeves_and_both_score_every_bar(shelf: Any, serve: Serve) -> None:
    """In a canary the planned sleeves get the challenger's scores, and the other version is the shadow."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    document = shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=0.25, salt="x"
    )
    served = serve(shelf)
    plan = plan_sleeves(document, sleeve_names(20))
    for sleeve in sleeve_names(20):
        answer = ask(served, sleeve)
        canary = sleeve in plan.canary
        assert answer.parameters["route"] == ("canary" if canary else "champion")
        assert answer.scores.tolist() == served.world.last(1 if canary else 0)
    rows = served.rows(40)
    assert len(plan.canary) == 5
    assert {(row.route, row.version) for row in rows} == {
        ("canary", challenger), ("champion", champion), ("shadow", challenger), ("shadow", champion),
    }  # fmt: skip
    assert all([row.version for row in rows].count(version) == 20 for version in (champion, challenger))


def test_a_request_for_no_sleeve_goes_to_the_champion(shelf: Any, serve: Serve) -> None:
    """A route key that is no sleeve is never part of a canary, even at full weight."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    assert ask(served, "").parameters["route"] == "champion"
    assert ask(served, "sleeve-07").parameters["route"] == "canary"


def test_a_challenger_without_finite_scores_falls_back(shelf: Any, serve: Serve) -> None:
    """Where the challenger gives NaN the champion answers, and the failure is in the log."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 0.0, -1.0, root=True)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    answer = ask(served)
    assert (answer.parameters["route"], answer.version) == ("fallback", champion)
    assert answer.scores.tolist() == served.world.last(0)
    rows = {row.route: row for row in served.rows(2)}
    assert "not finite" in str(rows["shadow"].error)
    assert (rows["shadow"].version, rows["fallback"].error) == (challenger, None)


def test_a_challenger_that_cannot_be_loaded_falls_back(shelf: Any, serve: Serve) -> None:
    """Where the challenger's file does not run at all the champion answers, and the log says why."""
    champion = shelf.add(1.0, 0.0, 0.0)
    challenger = shelf.add(1.0, 0.0, 0.0, features=("momentum",))
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    assert ask(served).parameters["route"] == "fallback"
    rows = {row.route: row for row in served.rows(2)}
    assert (rows["shadow"].version, rows["shadow"].digest) == (challenger, "")
    assert "its card says panel" in str(rows["shadow"].error)


def test_a_challenger_of_another_feature_set_falls_back(shelf: Any, serve: Serve) -> None:
    """A challenger that was trained on other features than the store holds never answers."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0, feature_set="e" * 64)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    assert ask(served).parameters["route"] == "fallback"


def test_a_champion_that_fails_is_an_error(shelf: Any, serve: Serve) -> None:
    """Without anyone to fall back on the request fails and says which version failed."""
    champion = shelf.add(0.0, 0.0, -1.0, root=True)
    shelf.route(champion=champion)
    with pytest.raises(ServingError, match="version 1 gave a score that is not finite"):
        ask(serve(shelf))


def test_a_champion_of_another_feature_set_is_refused(shelf: Any, serve: Serve) -> None:
    """A champion is not scored on features that it was not trained on."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0, feature_set="e" * 64))
    with pytest.raises(FeatureSetMismatchError, match="trained on feature set eeee"):
        ask(serve(shelf))


@pytest.mark.parametrize("allowed", [True, False])
def test_the_rotation_drill_is_honoured_only_when_allowed(shelf: Any, serve: Serve, allowed: bool) -> None:
    """The override rotates the challenger's live inputs where drills are allowed, and else nothing."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(1.0, 0.0, 0.0)
    override = Override(name="skew", by="test", reason="drill", rotate_inputs=1)
    shelf.route(
        champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0, override=override
    )
    served = serve(shelf, allow_drills=allowed)
    answer = ask(served)
    # One place to the right: the first feature of the model's row is the last of the store's.
    assert answer.scores.tolist() == served.world.last(2 if allowed else 0)
    rows = {row.route: row for row in served.rows(2)}
    assert rows["shadow"].scores == tuple(served.world.last(0))
    straight = served.world.panel[:, -1]
    seen = np.roll(straight, 1, axis=-1) if allowed else straight
    assert np.array_equal(rows["canary"].features, seen)
    assert (rows["canary"].input_hash != rows["shadow"].input_hash) is allowed


def test_versions_of_different_lookback_share_a_request(shelf: Any, serve: Serve) -> None:
    """Each version sees as many rows as its card asks for."""
    champion, challenger = shelf.add(1.0, 0.0, 0.0, lookback=1), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.SHADOW)
    served = serve(shelf)
    assert ask(served).scores.tolist() == served.world.last(0)
    assert {row.scores for row in served.rows(2)} == {
        tuple(served.world.last(0)),
        tuple(served.world.last(1)),
    }


def test_an_unknown_symbol_is_masked(shelf: Any, serve: Serve) -> None:
    """A symbol that the store lacks gets a status and no score; the others keep theirs."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    served = serve(shelf)
    answer = ask(served, symbols=("S01", "NOPE"))
    assert answer.statuses == (SymbolStatus.OK, SymbolStatus.MISSING)
    assert answer.scores[0] == served.world.last(0)[1]
    assert np.isnan(answer.scores[1])


def test_another_bar_than_the_store_holds_is_refused(shelf: Any, serve: Serve) -> None:
    """A forecast is for exactly the bar that was asked for, or it fails with the age."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    served = serve(shelf)
    with pytest.raises(StaleFeaturesError, match="1 day"):
        ask(served, as_of=served.world.bar + timedelta(days=1))


def test_a_version_can_be_asked_for_by_number(shelf: Any, serve: Serve) -> None:
    """A pinned version answers whatever the rollout says; only the champion's answer may carry capital."""
    champion, other = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 0.0, 1.0)
    shelf.route(champion=champion)
    served = serve(shelf)
    assert ask(served, version=other).parameters["route"] == "shadow"
    assert ask(served, version=other).scores.tolist() == served.world.last(2)
    assert ask(served, version=champion).parameters["route"] == "champion"
    with pytest.raises(UnknownNameError, match=r"unknown version '9'"):
        ask(served, version="9")


def test_a_model_without_a_champion_is_not_ready(shelf: Any, serve: Serve) -> None:
    """A model with versions but no rollout document says so, and becomes ready once it has one."""
    version = shelf.add(1.0, 0.0, 0.0)
    served = serve(shelf, poll_seconds=0.02)
    assert not served.core.ready
    assert not served.core.model_ready(shelf.name)
    with pytest.raises(MissingStateError, match="no champion yet"):
        ask(served)
    shelf.route(champion=version)
    await_true(lambda: served.core.ready)
    assert ask(served).version == version


def test_the_registry_is_followed_in_the_background(shelf: Any, serve: Serve) -> None:
    """A new rollout document takes effect within the poll interval, with no request waiting for it."""
    first, second = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=first)
    served = serve(shelf, poll_seconds=0.02)
    shelf.route(champion=second)
    await_true(lambda: ask(served).version == second)


def test_a_client_can_demand_a_newer_document(shelf: Any, serve: Serve) -> None:
    """With `min_generation` the router reads the registry at once instead of at the next poll."""
    first, second = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=first)
    served = serve(shelf)
    generation = shelf.route(champion=second).generation
    assert ask(served).version == first
    answer = ask(served, min_generation=generation)
    assert (answer.version, answer.parameters["generation"]) == (second, generation)


class AwayRegistry(Registry):
    """A registry that can be taken away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away = False

    def rollout(self, model: str) -> Any:
        if self.away:
            raise VendorError("connection refused")
        return super().rollout(model)


def test_without_the_registry_the_last_known_document_holds(shelf: Any, serve: Serve) -> None:
    """The registry away, the server goes on and says so; once it is back, it follows it again."""
    first, second = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=first)
    away = AwayRegistry(shelf.registry.folder)
    served = serve(shelf, registry=away, poll_seconds=0.02)
    away.away = True
    shelf.route(champion=second)
    await_true(lambda: ask(served).parameters.get("registry_away") is True)
    assert ask(served, min_generation=2).version == first
    away.away = False
    await_true(lambda: ask(served).version == second)
    assert "registry_away" not in ask(served).parameters


def await_true(condition: Callable[[], bool]) -> None:
    """Wait up to five seconds for `condition`."""
    deadline = monotonic() + 5
    while not condition():
        assert monotonic() < deadline, "did not come true within 5 s"
        sleep(0.01)
