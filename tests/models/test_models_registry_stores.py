"""The registry on both of its stores, under home and on an MLflow server: one contract."""

from __future__ import annotations

import logging
import os
import pickle
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alphaloop.errors import AlphaloopError, DamagedStoreError, InputError, SettingsError, UnknownNameError
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.runtime.processes import free_port
from alphaloop.settings.settings import Settings, load_settings, settings_from_json
from models.registry import server_connection
from models.registry.card import Card
from models.registry.configured_registry import configured_registry, has_registry
from models.registry.model_registry import ROLLOUT_TAG, Registry
from models.registry.server_connection import RegistryAwayError
from tests.mlflow_server import Gate, MlflowServer

MakeOnnx = Callable[..., bytes]
MakeCard = Callable[..., Card]
SECRET = "correct-horse-battery"


@pytest.fixture(params=["home", "server"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of each form of the registry."""
    uri = request.getfixturevalue("mlflow_server").uri if request.param == "server" else ""
    return load_settings(home=tmp_path, registry={"uri": uri})


@pytest.fixture
def model() -> str:
    """A name that no other test registers: the server is one for all tests."""
    return f"equities-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def gate(mlflow_server: MlflowServer) -> Iterator[Gate]:
    """A proxy before the MLflow server."""
    made = Gate(mlflow_server.uri)
    yield made
    made.close()


@pytest.fixture
def version(tiny_onnx: MakeOnnx, tiny_card: MakeCard, model: str) -> Callable[..., tuple[bytes, Card]]:
    """Makes the file of a version, told apart by its weight, and its card."""

    def made(weight: float = 1.0) -> tuple[bytes, Card]:
        content = tiny_onnx(weight)
        return content, tiny_card(content, model=model)

    return made


Version = Callable[..., tuple[bytes, Card]]


def at(home: Path, uri: str, **login: Any) -> Registry:
    """The registry of a server, seen from the machine whose home is `home`."""
    return configured_registry(load_settings(home=home, registry={"uri": uri, **login}))


def test_a_version_comes_back_from_either_store(settings: Settings, model: str, version: Version) -> None:
    """File, card, signature and list of versions are what was stored, from another process's registry too."""
    registry = configured_registry(settings)
    for weight in (1.0, 2.0):
        registry.register(model, *version(weight))
    registry.sign(model, "2", "ab12")
    other = pickle.loads(pickle.dumps(registry))
    assert (other.versions(model), other.onnx(model, "1")) == (["1", "2"], version(1.0)[0])
    assert (other.card(model, "2"), other.signature(model, "2")) == (version(2.0)[1], "ab12")
    assert other.signature(model, "1") is None
    assert model in other.models()
    assert has_registry(settings)


def test_either_store_names_what_it_does_not_have(settings: Settings, model: str, version: Version) -> None:
    """A wrong model or version gets an error that lists the right ones; a wrong digest is never stored."""
    registry = configured_registry(settings)
    registry.register(model, *version())
    with pytest.raises(UnknownNameError, match=rf"unknown model 'equites'.*{model}"):
        registry.versions("equites")
    with pytest.raises(UnknownNameError, match=r"unknown version '9'.*known: 1"):
        registry.onnx(model, "9")
    with pytest.raises(UnknownNameError, match="unknown version '01'"):
        registry.card(model, "01")
    with pytest.raises(InputError, match="digest"):
        registry.register(model, version(3.0)[0], version(4.0)[1])
    assert registry.versions(model) == ["1"]


def test_a_document_and_its_aliases_are_on_either_store(
    settings: Settings, model: str, version: Version
) -> None:
    """The aliases of a document follow it, and go where there is no challenger any more."""
    registry = configured_registry(settings)
    for weight in (1.0, 2.0):
        registry.register(model, *version(weight))
    first = RolloutDocument(model, "1")
    registry.write_rollout(first, None)
    canary = first.next(state=RolloutState.CANARY, challenger="2", weight=0.25)
    registry.write_rollout(canary, 1)
    assert (registry.rollout(model), registry.rollouts()[model]) == (canary, canary)
    assert registry.store.model(model).aliases == {"champion": "1", "challenger": "2"}
    registry.write_rollout(canary.settled("2"), 2)
    assert registry.store.model(model).aliases == {"champion": "2"}


def test_an_unmodified_mlflow_client_reads_either_store(
    settings: Settings, model: str, version: Version, tmp_path: Path
) -> None:
    """Versions are MLflow's own: its client finds figures, tags and the file that onnxruntime runs."""
    from mlflow import MlflowClient

    registry = configured_registry(settings)
    registry.register(model, *version())
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    found = client.get_model_version(model, "1")
    assert (found.tags["alphaloop.gate"], found.status) == ("passed", "READY")
    run = client.get_run(found.run_id)
    assert (run.info.status, run.data.metrics["ic"]) == ("FINISHED", pytest.approx(0.01))
    assert run.data.params["family"] == version()[1].family
    (tmp_path / "down").mkdir()
    path = client.download_artifacts(found.run_id, "model/model.onnx", str(tmp_path / "down"))
    assert Path(path).read_bytes() == version()[0]


def test_two_that_register_at_once_both_keep_their_version(
    settings: Settings, model: str, version: Version
) -> None:
    """Registries of several threads, each with connections of its own, number their versions one by one."""
    files = [version(float(number)) for number in range(1, 7)]

    def register(some: list[tuple[bytes, Card]]) -> None:
        registry = configured_registry(settings)
        for content, card in some:
            registry.register(model, content, card)

    configured_registry(settings).models()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(register, [files[start::3] for start in range(3)]))
    registry = configured_registry(settings)
    assert registry.versions(model) == [str(number) for number in range(1, 7)]
    digests = {registry.card(model, number).digest for number in registry.versions(model)}
    assert digests == {card.digest for _, card in files}


def test_what_is_cached_goes_on_while_the_server_is_away(
    mlflow_server: MlflowServer, model: str, version: Version, tmp_path: Path
) -> None:
    """Card, file and signature of a version that was read come from the folder of this machine."""
    gate = Gate(mlflow_server.uri)
    registry = at(tmp_path, gate.uri)
    for weight in (1.0, 2.0):
        registry.register(model, *version(weight))
    registry.sign(model, "1", "ab12")
    registry.onnx(model, "1")
    gate.close()
    restarted = at(tmp_path, gate.uri)
    assert restarted.onnx(model, "1") == version(1.0)[0]
    assert (restarted.card(model, "1"), restarted.signature(model, "1")) == (version(1.0)[1], "ab12")
    with pytest.raises(RegistryAwayError, match=rf"{gate.uri} does not answer.*set registry\.uri.*version 2"):
        restarted.card(model, "2")


def test_a_cached_file_is_verified_when_it_is_read_again(
    mlflow_server: MlflowServer, model: str, version: Version, tmp_path: Path
) -> None:
    """A byte changed in the cache is found: the file is fetched anew, and cached whole."""
    registry = at(tmp_path, mlflow_server.uri)
    registry.register(model, *version())
    registry.onnx(model, "1")
    cached = next(path for path in tmp_path.rglob("files/*") if path.name == version()[1].digest)
    cached.write_bytes(cached.read_bytes()[:-1])
    assert registry.onnx(model, "1") == version()[0]
    assert cached.read_bytes() == version()[0]


def test_a_file_altered_on_the_server_is_refused(
    mlflow_server: MlflowServer, model: str, version: Version, tmp_path: Path
) -> None:
    """What the server hands out is checked against the card, is not cached, and is named when it lacks."""
    at(tmp_path / "maker", mlflow_server.uri).register(model, *version())
    registry = at(tmp_path / "reader", mlflow_server.uri)
    run = registry.store.version(model, "1").run
    (stored,) = mlflow_server.folder.rglob(f"{run}/artifacts/model/model.onnx")
    stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
    with pytest.raises(DamagedStoreError, match="altered after registration"):
        registry.onnx(model, "1")
    stored.unlink()
    with pytest.raises(DamagedStoreError, match=r"lacks mlflow-artifacts:.*model\.onnx"):
        registry.onnx(model, "1")


def test_a_registration_whose_answer_was_lost_is_not_made_twice(
    gate: Gate, model: str, version: Version, tmp_path: Path
) -> None:
    """The version is looked up by the run that only this registration knows."""
    lost = iter([True])
    gate.lose = lambda path: "model-versions/create" in path and next(lost, False)
    registry = at(tmp_path, gate.uri)
    assert registry.register(model, *version()) == "1"
    assert registry.versions(model) == ["1"]


def test_a_server_that_is_away_costs_seconds_not_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection is tried three times in under a second, and not again for a moment."""
    monkeypatch.setattr(server_connection, "AWAY_SECONDS", 60.0)
    registry = at(tmp_path, f"http://127.0.0.1:{free_port()}")
    began = server_connection.boot_time()
    for _ in range(20):
        with pytest.raises(RegistryAwayError, match="does not answer \\(Connection refused\\)"):
            registry.models()
    assert server_connection.boot_time() - began < 3


@pytest.mark.parametrize("kind", ["token", "token_file", "password", "password_file"])
def test_the_login_reaches_the_server_and_nothing_else(
    gate: Gate, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A token or password, as text or in a file, opens the server, and no text of ours holds it."""
    import base64

    caplog.set_level(logging.DEBUG)
    basic = base64.b64encode(f"trader:{SECRET}".encode()).decode()
    gate.authorization = f"Bearer {SECRET}" if kind.startswith("token") else f"Basic {basic}"
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    login = {kind: str(file) if kind.endswith("_file") else SECRET}
    user = {} if kind.startswith("token") else {"username": "trader"}
    settings = load_settings(home=tmp_path, registry={"uri": gate.uri, **login, **user})
    registry = configured_registry(settings)
    registry.models()
    gate.authorization = "Bearer another"
    with pytest.raises(SettingsError, match="refused the login") as caught:
        registry.models()
    texts = [repr(settings), settings.model_dump_json(), repr(vars(registry.store)), caplog.text]
    chain: BaseException | None = caught.value
    while chain is not None:
        texts.append(f"{chain} {chain!r}")
        chain = chain.__cause__ or chain.__context__
    assert all(SECRET not in text and basic not in text for text in texts)
    assert SECRET not in Path(f"/proc/{os.getpid()}/cmdline").read_text()


def test_a_process_that_is_passed_the_settings_reads_its_own_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings travel without the secret, which comes from the variable of the process itself."""
    monkeypatch.setenv("ALPHALOOP_REGISTRY__URI", "https://models.example")
    monkeypatch.setenv("ALPHALOOP_REGISTRY__TOKEN", SECRET)
    text = load_settings(home=tmp_path).model_dump_json()
    assert SECRET not in text
    assert settings_from_json(text).registry.token.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"registry": {"uri": "s3://models"}}, r"registry\.uri.*https://HOST:PORT"),
        ({"registry": {"uri": f"https://me:{SECRET}@host"}}, r"registry\.uri.*registry\.password_file"),
        ({"registry": {"token": SECRET}}, r"registry\.uri is empty"),
        ({"registry": {"uri": "http://host", "username": "me"}}, r"registry\.password is missing"),
        ({"registry": {"uri": "http://host", "password": SECRET}}, r"registry\.username is missing"),
        ({"registry": {"uri": "http://host", "token": SECRET, "username": "me"}}, "both set"),
        (
            {"journal": {"url": "postgresql://me@host/alphaloop"}, "serving": {"replicas": 2}},
            r"journal\.url.*registry\.uri is empty: 2 replicas",
        ),
    ],
)
def test_contradictions_are_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    """Each names the settings and the way out, and shows no secret."""
    with pytest.raises(SettingsError, match=named) as caught:
        load_settings(home=tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_address_that_is_no_mlflow_server_is_named(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """A page that answers in HTML, and an address that nothing is behind, are errors of ours in one line."""
    with pytest.raises(AlphaloopError, match=f"{mlflow_server.uri}/nothing"):
        at(tmp_path, f"{mlflow_server.uri}/nothing").models()


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or empty, is named with its setting before the server is asked."""
    file = tmp_path / "token"
    registry = at(tmp_path, "http://127.0.0.1:9", token_file=str(file))
    with pytest.raises(SettingsError, match=r"registry\.token_file .*token cannot be read"):
        registry.models()
    file.write_text(" \n")
    with pytest.raises(SettingsError, match=r"registry\.token_file .* is empty"):
        registry.models()


def test_the_reading_side_needs_no_mlflow(
    mlflow_server: MlflowServer, model: str, version: Version, tmp_path: Path
) -> None:
    """A process that reads versions of a server imports no part of MLflow."""
    import subprocess
    import sys

    at(tmp_path / "maker", mlflow_server.uri).register(model, *version())
    code = (
        "import sys; from pathlib import Path; from alphaloop.settings.settings import load_settings\n"
        "from models.registry.configured_registry import configured_registry\n"
        f"registry = configured_registry(load_settings(home=Path({str(tmp_path / 'reader')!r})))\n"
        f"print(len(registry.onnx({model!r}, '1')), 'mlflow' in sys.modules)"
    )
    environment = {**os.environ, "ALPHALOOP_REGISTRY__URI": mlflow_server.uri}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.split() == [str(len(version()[0])), "False"], done.stderr


def test_the_tag_of_a_document_is_read_by_people(
    mlflow_server: MlflowServer, model: str, version: Version, tmp_path: Path
) -> None:
    """MLflow's page shows the document as a tag of the model."""
    registry = at(tmp_path, mlflow_server.uri)
    registry.register(model, *version())
    registry.write_rollout(RolloutDocument(model, "1"), None)
    assert '"champion": "1"' in registry.store.model(model).tags[ROLLOUT_TAG]


@pytest.mark.long
def test_a_server_on_postgresql_keeps_versions(
    postgres: Any, model: str, version: Version, tmp_path: Path
) -> None:
    """The same server on PostgreSQL numbers versions of several threads, and survives a restart."""
    database = postgres.database().replace("postgresql://", "postgresql+psycopg://")
    server = MlflowServer(tmp_path, database)
    try:
        settings = load_settings(home=tmp_path / "home", registry={"uri": server.uri})
        test_two_that_register_at_once_both_keep_their_version(settings, model, version)
        server.close()
        server.start()
        assert len(at(tmp_path / "other", server.uri).versions(model)) == 6
    finally:
        server.close()
