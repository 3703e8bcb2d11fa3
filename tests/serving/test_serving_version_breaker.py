"""The ladder of a failing version: its breaker, the champion, the last good scores, a refusal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import ServingError
from alphaloop.forecasts import Route, SymbolStatus
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.circuit_breaker import BreakerState
from serving.inference import version_breaker as breaker_module
from serving.inference.version_breaker import StaleScoreCache, VersionBreakers
from serving.protocol.messages import InferenceRequest


def by_symbols(served: Any, *symbols: str, key: str = "") -> InferenceRequest:
    """A request for the bar that the store holds."""
    asked = symbols or served.world.symbols
    return InferenceRequest(served.model, symbols=asked, as_of=served.world.bar, route_key=key)


def break_version(served: Any, version: str) -> None:
    """From now on this loaded version gives no finite score."""
    loaded = served.core._model_cache.load(served.model, version)
    loaded._run = lambda panel: np.full(len(panel), np.nan, np.float32)


def test_a_champion_that_fails_repeats_its_last_good_scores_marked_stale(serve: Any, shelf: Any) -> None:
    """The scores and their lineage are those of the last good answer, and every status says stale."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf)
    good = served.core.infer(by_symbols(served))
    break_version(served, "1")
    again = served.core.infer(by_symbols(served))
    assert again.parameters["stale"] is True
    assert again.parameters["route"] == Route.FALLBACK
    np.testing.assert_array_equal(again.scores, good.scores)
    assert set(again.statuses) == {SymbolStatus.STALE}
    for name in ("input_hash", "version", "digest", "feature_timestamp", "snapshot"):
        assert again.parameters[name] == good.parameters[name]
    assert again.parameters["prediction_id"] != good.parameters["prediction_id"]
    rows = served.rows(2)
    (failed,) = [row for row in rows if row.error is not None]
    assert len(rows) == 2
    # Stale scores are not logged as what the model says of this request.
    assert "not finite" in (failed.error or "")
    assert all(math.isnan(score) for score in failed.scores)


def test_without_good_scores_there_is_a_refusal(serve: Any, shelf: Any) -> None:
    """Other symbols than those of the good answer, and a champion that never gave one, are refused."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf)
    served.core.infer(by_symbols(served, "S00", "S01"))
    break_version(served, "1")
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(by_symbols(served, "S01"))
    panel = served.world.panel[:, -2:, :]
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(InferenceRequest(served.model, panel=panel))


def test_good_scores_are_not_repeated_for_ever(serve: Any, shelf: Any) -> None:
    """Where nothing may be repeated, the failure is a refusal at once."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, last_good_seconds=0)
    served.core.infer(by_symbols(served))
    break_version(served, "1")
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(by_symbols(served))


def test_only_a_champions_scores_are_repeated(serve: Any, shelf: Any) -> None:
    """What a canary answered meanwhile is not taken for the champion's, in the canary or rolled back."""
    champion, challenger = shelf.add(1.0, 2.0, 3.0), shelf.add(-1.0, -2.0, -3.0)
    shelf.route(champion=champion, challenger=challenger, state=RolloutState.CANARY, weight=1.0)
    served = serve(shelf)
    good = served.core.infer(by_symbols(served))
    assert served.core.infer(by_symbols(served, key="sleeve-00")).version == challenger
    few = by_symbols(served, "S00", "S01", key="sleeve-00")
    assert served.core.infer(few).version == challenger
    break_version(served, champion)
    shelf.route(challenger=None, state=RolloutState.STEADY, weight=0.0)
    served.core._router.refresh(shelf.name)
    again = served.core.infer(by_symbols(served, key="sleeve-00"))
    assert (again.version, again.parameters["stale"]) == (champion, True)
    np.testing.assert_array_equal(again.scores, good.scores)
    with pytest.raises(ServingError, match="not finite"):
        served.core.infer(few)


def test_a_former_champions_scores_are_not_repeated(serve: Any, shelf: Any) -> None:
    """Once another version is the champion, what the one before it answered stands in for nothing."""
    former, present = shelf.add(1.0, 2.0, 3.0), shelf.add(3.0, 2.0, 1.0)
    shelf.route(champion=former)
    served = serve(shelf)
    served.core.infer(by_symbols(served))
    shelf.route(champion=present)
    served.core._router.refresh(shelf.name)
    break_version(served, present)
    with pytest.raises(ServingError, match=f"version {present} gave a score that is not finite"):
        served.core.infer(by_symbols(served))


def test_a_challenger_that_fails_is_left_alone_and_tried_again(
    serve: Any, shelf: Any, count_runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its failures the champion answers and the challenger is not run, until one trial succeeds."""
    moment = [100.0]
    monkeypatch.setattr(
        breaker_module,
        "CircuitBreaker",
        lambda *given: _real(*given, elapsed=lambda: moment[0]),
    )
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.route(champion=champion)
    shelf.route(state=RolloutState.CANARY, challenger=challenger, weight=1.0)
    served = serve(shelf, breaker_failures=3, breaker_seconds=10)
    asked = by_symbols(served, key="sleeve-00")
    assert served.core.infer(asked).parameters["route"] == Route.CANARY
    working = served.core._model_cache.load(shelf.name, challenger)._run
    break_version(served, challenger)
    runs = count_runs(served.core._model_cache.load(shelf.name, challenger))
    routes = [served.core.infer(asked).parameters["route"] for _ in range(5)]
    assert routes == [Route.FALLBACK] * 5
    assert len(runs) == 3
    assert served.core.breakers.states()[shelf.name, challenger] is BreakerState.OPEN
    assert served.core.breakers.states()[shelf.name, champion] is BreakerState.CLOSED
    served.core._model_cache.load(shelf.name, challenger)._run = working
    assert served.core.infer(asked).parameters["route"] == Route.FALLBACK
    moment[0] += 10.0
    assert served.core.infer(asked).parameters["route"] == Route.CANARY
    assert served.core.breakers.states()[shelf.name, challenger] is BreakerState.CLOSED


def test_a_slow_version_is_left_alone_though_its_scores_were_used(serve: Any, shelf: Any) -> None:
    """Scores that took too long are good ones; after as many of them the version is not asked again."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, slow_ms=1e-6, breaker_failures=2, breaker_seconds=60)
    answers = [served.core.infer(by_symbols(served)) for _ in range(4)]
    assert ["stale" in answer.parameters for answer in answers] == [False, False, True, True]


@pytest.mark.parametrize(("paces", "left_alone"), [("sssq" * 50, True), ("sq" * 200, False)])
def test_a_version_that_is_mostly_in_time_is_not_left_alone(
    serve: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch, paces: str, left_alone: bool
) -> None:
    """A machine that stalls makes some scorings slow (s); only more slow ones than quick (q) ones count."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, breaker_failures=4, breaker_seconds=3_600)
    breakers = served.core.breakers
    told = iter(paces)
    monkeypatch.setattr(breakers, "_slow", lambda started: "slow" if next(told) == "s" else "")
    stale = ["stale" in served.core.infer(by_symbols(served)).parameters for _ in range(len(paces) // 2)]
    assert stale[-1] is left_alone
    assert stale.count(False) == (6 if left_alone else len(stale))


def test_who_is_left_alone_is_said_to_have_failed_how(serve: Any, shelf: Any) -> None:
    """The error of the last failure, as much of it as a line holds, or how long the scoring took."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, breaker_failures=1, breaker_seconds=60, last_good_seconds=0)
    break_version(served, "1")
    for _ in range(2):
        with pytest.raises(ServingError, match="not finite") as caught:
            served.core.infer(by_symbols(served))
    left_alone = f"{shelf.name} version 1 has failed too often and is left alone for 60 s; its last failure: "
    assert left_alone in str(caught.value)
    watched = served.core.breakers._watched(shelf.name, "1")
    watched.failed("x" * 100_000)
    with pytest.raises(ServingError, match=r"x…$") as caught:
        served.core.infer(by_symbols(served))
    assert len(str(caught.value)) < 1_000


def test_who_was_slow_is_said_to_have_been(serve: Any, shelf: Any) -> None:
    """The milliseconds that it took, and the setting that allows less."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    served = serve(shelf, slow_ms=1e-6, breaker_failures=1, breaker_seconds=60, last_good_seconds=0)
    served.core.infer(by_symbols(served))
    slow = r"its last failure: it took \d+ ms, longer than serving\.slow_ms \(1e-06\)"
    with pytest.raises(ServingError, match=slow):
        served.core.infer(by_symbols(served))


def test_only_so_much_is_remembered(world: Any, shelf: Any) -> None:
    """Breakers of versions and answers to requests are forgotten, the oldest first."""
    settings = world.settings().serving
    breakers, kept = VersionBreakers(settings), StaleScoreCache(60)
    for number in range(100):
        breakers._watched("model", str(number))
    assert len(breakers.states()) == 64
    assert ("model", "0") not in breakers.states()
    assert kept.get("model", "1", _inputs("S00")) is None
    for number in range(100):
        kept.put("model", _answer(), _inputs(f"S{number}"))
    assert kept.get("model", "1", _inputs("S0")) is None
    assert kept.get("model", "1", _inputs("S99")) is not None


def test_large_answers_are_remembered_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of inputs that have megabytes fewer are kept than of small ones, the last in any case."""
    monkeypatch.setattr(breaker_module, "MAX_CACHED_BYTES", 1_000)
    kept = StaleScoreCache(60)
    for number in range(10):
        kept.put("model", _answer(), _inputs(f"S{number}", 100))
    found = [kept.get("model", "1", _inputs(f"S{number}")) is not None for number in range(10)]
    assert found == [False] * 8 + [True] * 2
    kept.put("model", _answer(), _inputs("S99", 10_000))
    assert kept.get("model", "1", _inputs("S99")) is not None
    assert kept.get("model", "1", _inputs("S9")) is None


_real = breaker_module.CircuitBreaker


def _inputs(symbol: str, features: int = 1) -> Any:
    from serving.inference.values import ScoringInputs

    return ScoringInputs(np.zeros((1, 1, features), np.float32), True, 0.0, symbols=(symbol,))


def _answer() -> Any:
    from serving.inference.scoring import unscored

    return unscored("1", "", _inputs("S0"))
