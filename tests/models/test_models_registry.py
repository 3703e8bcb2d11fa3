"""The registry: what is stored comes back, and what was altered does not."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partialmethod
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from alphaloop.errors import (
    DamagedStoreError,
    InputError,
    RolloutConflictError,
    UnknownNameError,
    VendorError,
)
from alphaloop.rollout_document import RolloutDocument, RolloutState
from models.registry import mlflow_database
from models.registry.card import Card
from models.registry.mlflow_database import translate_mlflow_error
from models.registry.model_registry import CARD_FILE, CHALLENGER, CHAMPION, ONNX_FILE, Registry

MakeOnnx = Callable[..., bytes]
MakeCard = Callable[..., Card]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: MakeOnnx, tiny_card: MakeCard) -> Registry:
    """A registry with two versions of `equities`."""
    made = Registry(tmp_path_factory.mktemp("registry"))
    for weight in (1.0, 2.0):
        content = tiny_onnx(weight)
        made.register("equities", content, tiny_card(content))
    return made


def test_a_version_comes_back_as_it_was_registered(
    registry: Registry, tiny_onnx: MakeOnnx, tiny_card: MakeCard
) -> None:
    """File and card of a version are read back byte for byte and field for field."""
    assert registry.versions("equities")[:2] == ["1", "2"]
    assert registry.onnx("equities", "1") == tiny_onnx(1.0)
    assert registry.card("equities", "2") == tiny_card(tiny_onnx(2.0))
    assert "equities" in registry.models()


def test_an_unmodified_mlflow_client_sees_the_versions(registry: Registry) -> None:
    """The versions are ordinary MLflow model versions, with their figures on the run."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    version = client.get_model_version("equities", "1")
    assert version.tags["alphaloop.gate"] == "passed"
    assert client.get_run(version.run_id).data.metrics["ic"] == pytest.approx(0.01)


def test_unknown_names_are_named_with_what_is_known(registry: Registry) -> None:
    """A wrong model or version gets an error that lists the right ones."""
    with pytest.raises(UnknownNameError, match=r"unknown model 'equites'.*equities"):
        registry.versions("equites")
    with pytest.raises(UnknownNameError, match=r"unknown model 'equites'"):
        registry.rollout("equites")
    with pytest.raises(UnknownNameError, match=r"unknown version '99'.*1, 2"):
        registry.onnx("equities", "99")


def test_a_card_of_another_file_is_refused(
    registry: Registry, tiny_onnx: MakeOnnx, tiny_card: MakeCard
) -> None:
    """A version whose card names another digest is never stored."""
    before = registry.versions("equities")
    with pytest.raises(InputError, match="digest"):
        registry.register("equities", tiny_onnx(3.0), tiny_card(tiny_onnx(4.0)))
    assert registry.versions("equities") == before


def test_rollout_is_compared_before_it_is_swapped(
    tmp_path: Path, tiny_onnx: MakeOnnx, tiny_card: MakeCard
) -> None:
    """A document is written only over the generation that the writer had read."""
    registry = Registry(tmp_path)
    for weight in (1.0, 2.0):
        registry.register("equities", tiny_onnx(weight), tiny_card(tiny_onnx(weight)))
    assert registry.rollout("equities") is None
    first = RolloutDocument(model="equities", champion="1")
    registry.write_rollout(first, None)
    with pytest.raises(RolloutConflictError, match="generation 1, not at None"):
        registry.write_rollout(first, None)
    second = first.next(state=RolloutState.CANARY, challenger="2", weight=0.25, salt="x")
    registry.write_rollout(second, 1)
    with pytest.raises(RolloutConflictError, match="not at 1"):
        registry.write_rollout(second, 1)
    with pytest.raises(RolloutConflictError, match="does not follow"):
        registry.write_rollout(first, 2)
    assert registry.rollout("equities") == second
    with pytest.raises(UnknownNameError, match=r"unknown version '7'"):
        registry.write_rollout(second.next(challenger="7"), 2)
    assert _aliases(registry) == {CHAMPION: "1", CHALLENGER: "2"}
    registry.write_rollout(second.settled("2"), 2)
    assert _aliases(registry) == {CHAMPION: "2"}


def test_altered_files_are_refused(tmp_path: Path, tiny_onnx: MakeOnnx, tiny_card: MakeCard) -> None:
    """A byte changed in a stored file or card is found when it is read."""
    registry = Registry(tmp_path)
    registry.register("equities", tiny_onnx(), tiny_card(tiny_onnx()))
    path = next(registry.store.artifacts.rglob(ONNX_FILE))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedStoreError, match="altered after registration"):
        registry.onnx("equities", "1")
    path.unlink()
    with pytest.raises(DamagedStoreError, match="lacks"):
        registry.onnx("equities", "1")
    card = next(registry.store.artifacts.rglob(CARD_FILE))
    card.write_text(card.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(DamagedStoreError, match="card of equities version 1"):
        registry.card("equities", "1")


@pytest.mark.parametrize("damage", ["not a database", "torn pages"])
def test_a_damaged_database_is_one_clear_error(tmp_path: Path, registry: Registry, damage: str) -> None:
    """A database that is none, or whose pages are torn, is named and left as it is."""
    content = bytearray(b"rubbish" * 999)
    if damage == "torn pages":
        content = bytearray(registry.store.database.read_bytes())
        content[4096:60_000] = bytes(len(content[4096:60_000]))
    broken = Registry(tmp_path)
    broken.store.database.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"cannot be read.*restore it"):
        broken.versions("equities")
    assert broken.store.database.read_bytes() == bytes(content)


def test_a_copied_registry_works_where_it_is(
    tmp_path: Path, registry: Registry, tiny_onnx: MakeOnnx, tiny_card: MakeCard
) -> None:
    """A registry that was copied reads and writes its own files, not those of the original."""
    import shutil

    copy = Registry(tmp_path / "copy")
    shutil.copytree(registry.folder, copy.folder)
    before = len(list(registry.store.artifacts.iterdir()))
    version = copy.register("equities", tiny_onnx(5.0), tiny_card(tiny_onnx(5.0)))
    assert copy.onnx("equities", version) == tiny_onnx(5.0)
    assert copy.onnx("equities", "1") == tiny_onnx(1.0)
    assert len(list(registry.store.artifacts.iterdir())) == before
    assert pickle.loads(pickle.dumps(copy)).versions("equities") == copy.versions("equities")


def register(folder: Path, files: list[tuple[bytes, Card]]) -> None:
    """What a process does that registers versions."""
    registry = Registry(folder)
    for content, card in files:
        registry.register("equities", content, card)


def test_two_processes_share_a_fresh_registry(
    tmp_path: Path, tiny_onnx: MakeOnnx, tiny_card: MakeCard, clean_fork: Any
) -> None:
    """Two processes that open the same fresh registry at once both register all their versions."""
    files = [[tiny_onnx(start + index) for index in range(5)] for start in (10.0, 20.0)]
    children = [
        clean_fork.Process(target=register, args=(tmp_path, [(one, tiny_card(one)) for one in some]))
        for some in files
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        child.kill()
        assert child.exitcode == 0
    registry = Registry(tmp_path)
    assert registry.versions("equities") == [str(number) for number in range(1, 11)]
    assert {registry.card("equities", version).digest for version in registry.versions("equities")} == {
        tiny_card(one).digest for some in files for one in some
    }


def test_a_new_database_is_created_whole(
    tmp_path: Path, create_registry_database: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears under its name with MLflow's tables in it, or not at all, and nothing lies beside it."""
    whole = tmp_path / "whole" / "registry.db"
    whole.parent.mkdir()
    create_registry_database(whole)
    assert [path.name for path in whole.parent.iterdir()] == ["registry.db"]
    with closing(sqlite3.connect(whole)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"registered_models", "model_versions", "experiments", "alembic_version"} <= tables
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlflow_database, "_connect", Mock(side_effect=KeyboardInterrupt))
        create_registry_database(tmp_path / "interrupted.db")
    assert not (tmp_path / "interrupted.db").exists()


def test_all_models_are_known_however_many(
    tmp_path: Path, tiny_onnx: MakeOnnx, tiny_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow gives them page by page; a model of the last page is listed, and so is its rollout."""
    from mlflow import MlflowClient

    whole_page = MlflowClient.search_registered_models
    monkeypatch.setattr(MlflowClient, "search_registered_models", partialmethod(whole_page, max_results=4))
    registry, content = Registry(tmp_path), tiny_onnx()
    registry.register("zinc", content, tiny_card(content, model="zinc"))
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    for number in range(8):
        client.create_registered_model(f"model-{number}")
    document = RolloutDocument("zinc", "1")
    registry.write_rollout(document, None)
    assert len(registry.models()) == 9
    assert registry.rollouts() == {"zinc": document}
    assert registry.register("zinc", tiny_onnx(2.0), tiny_card(tiny_onnx(2.0), model="zinc")) == "2"


def test_reading_the_rollout_is_cheap(registry: Registry) -> None:
    """The document is read in a few milliseconds, often enough for a poll each second (fastest of 20)."""
    from alphaloop.clock import monotonic

    registry.rollout("equities")
    seconds = []
    for _ in range(20):
        started = monotonic()
        registry.rollout("equities")
        seconds.append(monotonic() - started)
    assert min(seconds) < 0.02


def _aliases(registry: Registry) -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    return {name: str(version) for name, version in client.get_registered_model("equities").aliases.items()}


def test_a_failure_that_is_no_damage_does_not_call_the_registry_damaged(tmp_path: Path) -> None:
    """A busy database is a failure to try again after; nobody is told to move the registry away."""
    database = tmp_path / "mlflow.db"
    assert isinstance(translate_mlflow_error(database, RuntimeError("database is locked")), VendorError)
    assert isinstance(translate_mlflow_error(database, RuntimeError("no such table: x")), DamagedStoreError)
