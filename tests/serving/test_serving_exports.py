"""What other servers are given: a Bento that answers the same, and a repository that Triton understands."""

from __future__ import annotations

import errno
import importlib.util
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import InputError, UnknownNameError, VendorError
from alphaloop.runtime.processes import child_environment, free_port
from serving.exports.bento import export_bento
from serving.exports.bento_source import SERVICE_SOURCE
from serving.exports.exported_version import ExportedVersion
from serving.exports.triton import export_triton
from serving.protocol.messages import InvalidRequestError
from serving.protocol.tensors import is_complete
from serving.server.http.http_codec import decode_infer


def post(url: str, body: Any) -> Any:
    """The answer to a JSON body."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def status_of(url: str, body: bytes, kind: str = "application/json") -> int:
    """The status of the answer to a body as it is."""
    request = urllib.request.Request(url, body, {"content-type": kind}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# A body is JSON, whatever its client calls it: curl calls all that it sends a form.
KINDS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/octet-stream")
ROW = "[0.1, 0.2, 0.3]"
# What the server refuses as well, and what is no request of a Bento's.
BAD = {
    "no rows": b'{"panel": []}', "one row": f'{{"panel": [[{ROW}]]}}'.encode(),
    "ragged": f'{{"panel": [[{ROW}, [0.1, 0.2]]]}}'.encode(), "flat": b'{"panel": [0.1, 0.2]}',
    "deep": f'{{"panel": [[[{ROW}], [{ROW}]]]}}'.encode(), "null": b'{"panel": null}',
    "a text": f'{{"panel": [[{ROW}, ["1.5", 0.2, 0.3]]]}}'.encode(),
    "a boolean": f'{{"panel": [[{ROW}, [true, 0.2, 0.3]]]}}'.encode(),
    "beyond float32": f'{{"panel": [[{ROW}, [1e39, 0.2, 0.3]]]}}'.encode(),
    "beyond float64": f'{{"panel": [[{ROW}, [1{"0" * 400}, 0.2, 0.3]]]}}'.encode(),
    "infinity": f'{{"panel": [[{ROW}, [-Infinity, 0.2, 0.3]]]}}'.encode(),
    "an object": f'{{"panel": [[{ROW}, {{}}]]}}'.encode(), "no panel": b"{}", "a list": b"[1, 2]",
    "nothing": b"", "half": b'{"panel": [[', "no JSON": b"\xff\xfe",
    "very deep": b'{"panel": ' + b"[" * 100_000,
}  # fmt: skip


def await_ready(url: str, child: subprocess.Popen[bytes]) -> None:
    """Wait until BentoML says that it is ready."""
    deadline = monotonic() + 60
    while True:
        assert child.poll() is None
        assert monotonic() < deadline
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            sleep(0.1)


def test_a_bento_gives_the_scores_of_the_engine(world: Any, shelf: Any, tmp_path: Path) -> None:
    """Built, and served by BentoML alone, it scores the same, masks the same, and refuses a wrong shape."""
    version = shelf.add(1.0, 2.0, 3.0)
    exported = ExportedVersion.read(shelf.registry, shelf.name)
    folder = export_bento(exported, tmp_path / "bento")
    port, home = free_port(), tmp_path / "home"
    home.mkdir()
    environment = child_environment({"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"})
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1"]
    panel = world.panel[:3, -2:].copy()
    with subprocess.Popen(
        [*command, "--port", str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        started: list[psutil.Process] = []
        try:
            url = f"http://127.0.0.1:{port}"
            await_ready(url, child)
            started = psutil.Process(child.pid).children(recursive=True)
            answer = post(f"{url}/predict", {"panel": panel.tolist()})
            holes = panel.tolist()
            holes[1][0][0] = None
            masked = post(f"{url}/predict", {"panel": holes})
            refused = {name: status_of(f"{url}/predict", body) for name, body in BAD.items()}
            good = json.dumps({"panel": panel.tolist()}).encode()
            taken = {kind: status_of(f"{url}/predict", good, kind) for kind in KINDS}
        finally:
            child.terminate()
            child.wait(30)
            psutil.wait_procs(started, timeout=10)
    np.testing.assert_allclose(answer["scores"], panel[:, -1] @ np.array([1.0, 2.0, 3.0]), rtol=1e-6)
    assert (answer["version"], answer["digest"]) == (version, exported.card.digest)
    assert {name: status for name, status in refused.items() if not 400 <= status < 500} == {}
    assert taken == dict.fromkeys(KINDS, 200)
    assert masked["statuses"] == ["ok", "missing", "ok"]
    assert masked["scores"] == [answer["scores"][0], None, answer["scores"][2]]


def test_triton_understands_the_repository(world: Any, shelf: Any, tmp_path: Path) -> None:
    """The configuration is a message of Triton's schema, and says what the files in the folder are."""
    versions = [shelf.add(1.0, 2.0, 3.0), shelf.add(3.0, 2.0, 1.0)]
    exported = [ExportedVersion.read(shelf.registry, shelf.name, one) for one in versions]
    folder = export_triton(exported, tmp_path / "repository") / exported[0].safe_name
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert config.name == folder.name
    assert config.backend == "onnxruntime"
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    (given,), (warm,) = config.input, config.model_warmup
    assert (given.name, given.data_type, list(given.dims)) == (
        "panel",
        model_config_pb2.TYPE_FP32,
        [-1, 2, 3],
    )
    for version, weights in zip(versions, ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), strict=True):
        session = onnxruntime.InferenceSession(folder / version / "model.onnx")
        shape = list(warm.inputs["panel"].dims)
        (warmed,) = session.run([config.output[0].name], {given.name: np.zeros(shape, np.float32)})
        assert warmed.shape == (shape[0],)
        (scores,) = session.run(["scores"], {"panel": world.panel[:, -2:]})
        np.testing.assert_allclose(scores, world.panel[:, -1] @ np.array(weights, np.float32), atol=1e-6)


def test_the_champion_is_exported_where_no_version_is_named(shelf: Any) -> None:
    """The champion goes before the newest, and what does not exist is named."""
    first, second = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    assert ExportedVersion.read(shelf.registry, shelf.name).version == second
    shelf.route(champion=first)
    assert ExportedVersion.read(shelf.registry, shelf.name).version == first
    with pytest.raises(UnknownNameError, match="version '9'"):
        ExportedVersion.read(shelf.registry, shelf.name, "9")


def test_an_export_overwrites_nothing(shelf: Any, tmp_path: Path) -> None:
    """Where something is already there, the place is named and nothing is touched."""
    shelf.add(1.0, 0.0, 0.0)
    exported = ExportedVersion.read(shelf.registry, shelf.name)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_bento(exported, tmp_path / "file")
    export_triton([exported], tmp_path / "repository")
    with pytest.raises(InputError, match="exists already"):
        export_triton([exported], tmp_path / "repository")


def test_versions_of_other_inputs_are_exported_apart(shelf: Any, tmp_path: Path) -> None:
    """Triton has one configuration for all versions of a model."""
    names = [shelf.add(1.0, 0.0, 0.0), shelf.add(1.0, 0.0, 0.0, lookback=3)]
    exported = [ExportedVersion.read(shelf.registry, shelf.name, one) for one in names]
    with pytest.raises(InputError, match="do not take the same inputs"):
        export_triton(exported, tmp_path / "repository")


@pytest.mark.parametrize("failing", ["config.pbtxt", "model.onnx"])
def test_an_export_that_fails_leaves_nothing(
    shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Half a repository is taken away, with the folders that were made for it; one line says why."""
    shelf.add(1.0, 0.0, 0.0)
    exported = ExportedVersion.read(shelf.registry, shelf.name)

    def full(path: Path, *_: Any, **__: Any) -> None:
        if path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write_text", "write_bytes"):
        inner = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda path, *a, inner=inner, **k: full(path) or inner(path, *a, **k))
    with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)"):
        export_triton([exported], tmp_path / "new" / "repository")
    assert list(tmp_path.iterdir()) == []


def test_a_bento_that_cannot_be_built_leaves_nothing(
    shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where BentoML fails its words are told, and no folder is there."""
    shelf.add(1.0, 0.0, 0.0)
    exported = ExportedVersion.read(shelf.registry, shelf.name)
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "no room for a Bento")
    )
    with pytest.raises(VendorError, match="no room for a Bento"):
        export_bento(exported, tmp_path / "new" / "bento")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_bento_reads_panels_as_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Whatever JSON holds in the place of a value, both take it or both refuse it, and read the same."""
    (tmp_path / "card.json").write_text(json.dumps({"bento": "b", "lookback": 1, "features": ["x", "y"]}))
    (tmp_path / "service.py").write_text(SERVICE_SOURCE)
    stub = SimpleNamespace(
        service=lambda **_: lambda _: SimpleNamespace(add_asgi_middleware=lambda _: None),
        api=lambda made: made,
        exceptions=SimpleNamespace(InvalidArgument=ValueError),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "bentoml", stub)
    spec = importlib.util.spec_from_file_location("exported_service", tmp_path / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for value in (0, 1.5, -0.0, 1e38, 1e39, -1e39, 10**400, None, float("nan"), "1.5", True, [], [1], {}, ""):
        panel = [[[0.25, 0.5]], [[0.75, 1.0]]]
        panel[1][0][place] = value  # type: ignore[call-overload]
        tensor = {"name": "panel", "datatype": "FP32", "shape": [2, 1, 2], "data": panel}
        try:
            expected = decode_infer(json.dumps({"inputs": [tensor]}).encode(), None, "m", "").request.panel
            assert expected is not None
            is_complete(expected)
        except InvalidRequestError:
            with pytest.raises(ValueError, match="panel"):
                module.read(panel)
        else:
            assert module.read(panel).tobytes() == expected.tobytes(), value
