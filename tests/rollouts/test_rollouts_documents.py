"""The rollout document: a row of the journal's database, with copies on the registry."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import LeaseLostError, RolloutConflictError, VendorError
from alphaloop.journal.opening import document_reader, open_journal
from alphaloop.journal.roles import control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.settings.settings import Settings, load_settings
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import ROLLOUT_TAG, Registry
from rollouts.publication import DOCUMENT_MOVED, ROLLOUT_INTENT, RolloutPublisher, document_digest
from rollouts.start import first_champion_document
from rollouts.transition import ROLLOUT_TRANSITION, Transition, make_transition
from serving.inference.router import Router
from tests.models.conftest import make_card, make_onnx
from tests.postgres import PostgresServer

MODEL = "equities"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty home."""
    return load_settings(home=tmp_path)


@pytest.fixture(params=["home", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a journal on each of its two stores."""
    if request.param == "home":
        return load_settings(home=tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return load_settings(home=tmp_path, journal={"url": server.database()})


@pytest.fixture
def open_one(settings: Settings) -> Iterator[Callable[[], Journal]]:
    """Opens the journal as another process would."""
    opened: list[Journal] = []

    def made() -> Journal:
        opened.append(open_journal(settings, SystemClock()))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def registry_of(settings: Settings, versions: int = 2) -> Registry:
    """The registry of the settings with some versions of the model."""
    registry = configured_registry(settings)
    for weight in range(1, versions + 1):
        content = make_onnx(float(weight))
        registry.register(MODEL, content, make_card(content, model=MODEL))
    return registry


def first() -> tuple[RolloutDocument, Transition]:
    """The document that makes version 1 the first champion, and its transition."""
    return first_champion_document(MODEL, "1", None, "controller")


def challenged(before: RolloutDocument) -> tuple[RolloutDocument, Transition]:
    """The document that puts version 2 into shadow after `before`, and its transition."""
    after = before.next(state=RolloutState.SHADOW, challenger="2", salt="x")
    return after, make_transition(after, after, as_of="", bars=0, reason="shadow")


def steps(journal: Journal) -> list[int]:
    """Generations of the journaled transitions."""
    return [record.body["generation"] for record in journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)]


def test_a_row_changes_with_its_transition_or_not_at_all(stores: Settings) -> None:
    """A document on a generation that is not the stored one changes neither row nor journal."""
    journal = open_journal(stores, SystemClock())
    document, step = first()
    after, next_step = challenged(document)
    with journal.take_role(control_role(MODEL)) as role:
        journal.publish_document(document, None, [(ROLLOUT_TRANSITION, step.body())], role)
        with pytest.raises(RolloutConflictError, match="at generation 1, not at None"):
            journal.publish_document(document, None, [(ROLLOUT_TRANSITION, step.body())], role)
        with pytest.raises(RolloutConflictError, match="does not follow"):
            journal.publish_document(document, 1, [(ROLLOUT_TRANSITION, step.body())], role)
        assert (journal.documents.read(MODEL), steps(journal)) == (document, [1])
        journal.publish_document(after, 1, [(ROLLOUT_TRANSITION, next_step.body())], role)
    assert (journal.documents.read(MODEL), steps(journal)) == (after, [1, 2])
    assert document_reader(stores).read(MODEL) == after
    assert document_reader(stores).read("bonds") is None
    journal.close()


def test_a_paused_controller_that_wakes_cannot_set_an_old_document(
    settings: Settings, open_one: Callable[[], Journal]
) -> None:
    """Its role was taken over meanwhile: what it decided before its pause changes nothing."""
    registry, journal = registry_of(settings), open_one()
    paused_role = journal.take_role(control_role(MODEL), holder="elsewhere:1")
    paused = RolloutPublisher(MODEL, registry, journal, paused_role)
    document, step = first()
    paused.publish(None, step, document)
    after, next_step = challenged(document)
    other = open_one()
    # What a standby does once the heartbeats of the paused one stood still for a lease.
    paused_role._ended.set()
    paused_role._thread.join()
    paused_role._ended.clear()
    with other.take_role(control_role(MODEL), holder="elsewhere:1") as role:
        RolloutPublisher(MODEL, registry, other, role).publish(document, next_step, after)
        settled = after.settled("1")
        with pytest.raises(LeaseLostError, match="was taken over"):
            paused.publish(after, make_transition(settled, after, as_of="", bars=1, reason="old"), settled)
        with pytest.raises(RolloutConflictError, match="at generation 2, not at 1"):
            RolloutPublisher(MODEL, registry, other, role).publish(document, next_step, after)
    assert (other.documents.read(MODEL), registry.copied_rollout(MODEL)) == (after, after)
    assert steps(other) == [1, 2]


def test_tag_and_aliases_are_copies_that_are_repaired(
    settings: Settings, open_one: Callable[[], Journal]
) -> None:
    """What a person edits on MLflow's page changes nobody's routing, and is set back by control."""
    registry = registry_of(settings)
    publisher = RolloutPublisher(MODEL, registry, open_one())
    document, step = first()
    publisher.publish(None, step, document)
    assert registry.copied_rollout(MODEL) == document
    assert not publisher.repair_copies()
    registry.store.tag_model(MODEL, ROLLOUT_TAG, RolloutDocument(MODEL, "2", generation=9).to_json())
    registry.store.set_alias(MODEL, "champion", "2")
    assert (registry.rollout(MODEL), registry.rollouts()[MODEL]) == (document, document)
    assert publisher.repair_copies()
    assert registry.copied_rollout(MODEL) == document
    assert registry.store.model(MODEL).aliases == {"champion": "1"}


def test_a_document_is_changed_while_the_registry_takes_no_copy(
    settings: Settings, open_one: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is what counts; the copy follows once the registry is back."""
    registry = registry_of(settings)
    publisher = RolloutPublisher(MODEL, registry, open_one())
    document, step = first()
    with monkeypatch.context() as patch:
        patch.setattr(registry.store, "tag_model", Mock(side_effect=VendorError("away")))
        publisher.publish(None, step, document)
    assert (registry.rollout(MODEL), registry.copied_rollout(MODEL)) == (document, None)
    assert publisher.repair_copies()
    assert registry.copied_rollout(MODEL) == document


def test_a_document_of_an_earlier_release_is_moved_by_the_first_change(
    settings: Settings, open_one: Callable[[], Journal]
) -> None:
    """A home whose document is only in the tag is read, and its generation goes on in the row."""
    registry, journal = registry_of(settings), open_one()
    old = RolloutDocument(MODEL, "1", generation=4)
    registry.write_rollout(old, None)
    publisher = RolloutPublisher(MODEL, registry, journal)
    assert (publisher.document(), registry.rollout(MODEL)) == (old, old)
    after, step = challenged(old)
    publisher.publish(old, step, after)
    assert (journal.documents.read(MODEL), registry.rollout(MODEL)) == (after, after)
    (moved,) = journal.records(CONTROL_STREAM, DOCUMENT_MOVED)
    assert moved.body == {"model": MODEL, "generation": 4}
    assert not publisher.reconcile()


def test_an_intent_of_an_earlier_release_is_still_reconciled(
    settings: Settings, open_one: Callable[[], Journal]
) -> None:
    """Its document is in the tag and its transition is missing: the transition is journaled with the row."""
    registry, journal = registry_of(settings), open_one()
    document, step = first()
    with journal.take_role(control_role(MODEL)) as role:
        intent = {"document": document_digest(document), "step": step.body()}
        journal.append(CONTROL_STREAM, ROLLOUT_INTENT, intent, role=role)
    registry.write_rollout(document, None)
    publisher = RolloutPublisher(MODEL, registry, journal)
    assert publisher.reconcile()
    assert (journal.documents.read(MODEL), steps(journal)) == (document, [1])
    assert not publisher.reconcile()


class Away:
    """A document reader whose database is away."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, model: str) -> RolloutDocument | None:
        raise VendorError("the database is away")

    def last_known(self, model: str) -> RolloutDocument | None:
        return self._reader.last_known(model)  # type: ignore[no-any-return]


def router_on(registry: Registry) -> Router:
    """A router that loads no model."""
    return Router(registry, Mock(), ("s1", "s2"), 3_600.0)


def test_a_server_starts_at_the_last_document_of_this_machine(
    settings: Settings, open_one: Callable[[], Journal]
) -> None:
    """With the database away it answers by the last document that was read here, and says so."""
    registry = registry_of(settings)
    document, step = first()
    RolloutPublisher(MODEL, registry, open_one()).publish(None, step, document)
    away = Registry(settings.paths.registry, documents=Away(document_reader(settings)))  # type: ignore[arg-type]
    with pytest.raises(VendorError, match="the database is away"):
        router_on(away).refresh(MODEL)
    assert router_on(registry).refresh(MODEL).stale is None
    restarted = router_on(away).refresh(MODEL)
    assert (restarted.document, restarted.stale) == (document, "the database is away")
    assert pickle.loads(pickle.dumps(document_reader(settings))).last_known(MODEL) == document


def test_a_server_never_goes_back_in_generation(
    settings: Settings, open_one: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that an older copy replaced is told of, and the newer document goes on."""
    registry = registry_of(settings)
    publisher = RolloutPublisher(MODEL, registry, open_one())
    document, step = first()
    publisher.publish(None, step, document)
    after, next_step = challenged(document)
    publisher.publish(document, next_step, after)
    router = router_on(registry)
    assert router.refresh(MODEL).document == after
    monkeypatch.setattr(registry, "rollout", lambda model: document)
    table = router.refresh(MODEL)
    assert table.document == after
    assert "generation 1 there, and was at 2 here" in str(table.stale)


def test_reading_the_document_asks_nothing_of_mlflow(
    settings: Settings, open_one: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is read without MLflow, often enough for every request (fastest of 20)."""
    from alphaloop.clock import monotonic

    registry = registry_of(settings, 1)
    document, step = first()
    RolloutPublisher(MODEL, registry, open_one()).publish(None, step, document)
    monkeypatch.setattr(registry.store, "model", Mock(side_effect=AssertionError("MLflow was asked")))
    seconds = []
    for _ in range(20):
        started = monotonic()
        assert registry.rollout(MODEL) == document
        seconds.append(monotonic() - started)
    assert min(seconds) < 0.005
