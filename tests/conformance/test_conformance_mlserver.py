"""The same calls of unmodified tritonclient against this server and MLServer, and where they differ.

MLServer is installed into an environment of its own in a temporary folder. Differences are written, with
the specification's words, to docs/evidence/conformance.txt.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NoReturn

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient import grpc as triton
from tritonclient import http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from alphaloop.clock import monotonic, sleep
from alphaloop.processes import child_environment, free_port
from alphaloop.rollout import RolloutDocument
from alphaloop.settings import ServingSettings, Settings
from models.card import Card
from models.registry import Registry
from serving.hosts.process import ProcessHost

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "conformance.txt"
MODEL = "linear"
PANEL = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
SCORES = [26.0, 62.0]
START_SECONDS = 120.0

RUNTIME = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse


class Linear(MLModel):
    async def predict(self, payload):
        (one,) = payload.inputs
        if one.name != "panel":
            raise InferenceError(f"there is no input '{one.name}'")
        panel = NumpyCodec.decode_input(one)
        scores = (panel[:, -1] @ np.array([1, 2, 3], np.float32)).astype(np.float32)
        outputs = [
            NumpyCodec.encode_output("scores", scores),
            StringCodec.encode_output("statuses", ["ok"] * len(scores)),
        ]
        for output in outputs:
            # The codecs make columns of vectors.
            output.shape = [len(scores)]
        asked = {output.name for output in payload.outputs or []}
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[output for output in outputs if not asked or output.name in asked],
        )
"""
TENSORS = {
    "inputs": [{"name": "panel", "datatype": "FP32", "shape": [-1, 2, 3]}],
    "outputs": [
        {"name": "scores", "datatype": "FP32", "shape": [-1]},
        {"name": "statuses", "datatype": "BYTES", "shape": [-1]},
    ],
}


@dataclass(frozen=True)
class Target:
    """A server under test."""

    grpc_url: str
    http_url: str

    def grpc(self) -> Any:
        """An unmodified client."""
        return triton.InferenceServerClient(self.grpc_url)

    def http(self) -> Any:
        """An unmodified client."""
        return triton_http.InferenceServerClient(self.http_url)

    def message(self, message: Any) -> Any:
        """The answer to a message that tritonclient would not make."""
        with grpc.insecure_channel(self.grpc_url) as channel:
            return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=10)

    def json(self, path: str, content: Any = None) -> tuple[int, Any]:
        """Status and JSON of a bare request."""
        connection = HTTPConnection(*self.http_url.split(":"), timeout=10)
        body = None if content is None else json.dumps(content)
        headers = {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None


@dataclass(frozen=True)
class Case:
    """One call: what it shows on a server that conforms, and the specification's words for it."""

    name: str
    ask: Callable[[Target], object]
    expected: object
    words: str


def panel(library: Any, values: np.ndarray[Any, Any] = PANEL, **options: Any) -> Any:
    """The input of a request."""
    made = library.InferInput("panel", list(values.shape), "FP32")
    made.set_data_from_numpy(values, **options)
    return made


def status(call: Callable[[], object]) -> str:
    """The status that a call fails with."""
    try:
        call()
    except InferenceServerException as error:
        return str(error.status()).removeprefix("StatusCode.")
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def in_grpc(ask: Callable[[Any], object]) -> Callable[[Target], object]:
    """A call by the gRPC client."""

    def call(target: Target) -> object:
        with target.grpc() as client:
            return ask(client)

    return call


def in_http(ask: Callable[[Any], object]) -> Callable[[Target], object]:
    """A call by the HTTP client."""

    def call(target: Target) -> object:
        with target.http() as client:
            return ask(client)

    return call


def infer_grpc(client: Any, **options: Any) -> Any:
    """A good request over gRPC."""
    return client.infer(MODEL, [panel(triton)], **options)


def requested(client: Any, name: str) -> list[str]:
    """The outputs that come where `name` is asked for."""
    result = infer_grpc(client, outputs=[triton.InferRequestedOutput(name)])
    return [output.name for output in result.get_response().outputs]


def infer_http(client: Any, binary: bool = True, **options: Any) -> Any:
    """A good request over HTTP."""
    return client.infer(MODEL, [panel(triton_http, binary_data=binary)], **options)


def raw_message(**changes: Any) -> Any:
    """A request in raw contents."""
    message = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[PANEL.tobytes()])
    message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def typed_message() -> Any:
    """A request in typed contents."""
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    tensor.contents.fp32_contents.extend(PANEL.ravel().tolist())
    return message


def short_message() -> Any:
    """A request whose content is shorter than its shape."""
    message = raw_message()
    message.raw_input_contents[0] = PANEL.tobytes()[:-4]
    return message


def both_message() -> Any:
    """A request with raw and typed contents."""
    message = typed_message()
    message.raw_input_contents.append(PANEL.tobytes())
    return message


def scores(message: Any) -> object:
    """The scores in a message's answer, in whichever encoding they come."""
    (output,) = [index for index, one in enumerate(message.outputs) if one.name == "scores"]
    if message.raw_output_contents:
        return np.frombuffer(message.raw_output_contents[output], "<f4").tolist()
    return list(message.outputs[output].contents.fp32_contents)


def streamed(target: Target) -> object:
    """The ids of a stream's answers, in their order; by the stub, whose calls end at their deadline."""
    with grpc.insecure_channel(target.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = stub.ModelStreamInfer(iter([raw_message(id=name) for name in "abc"]), timeout=5)
        try:
            return [answer.infer_response.id for answer in answers]
        except grpc.RpcError as error:
            return str(error.code().name)


def http_error(path: str, content: Any = None) -> Callable[[Target], object]:
    """Whether a bare request fails as the specification wants it."""

    def ask(target: Target) -> object:
        code, body = target.json(path, content)
        return f"{code // 100}xx with {'error' if isinstance(body, dict) and 'error' in body else 'no error'}"

    return ask


FAILS = (
    "A failed … request must be indicated by an HTTP error status (typically 400). The HTTP body must "
    "contain the … error_response object."
)
STATUS = (
    "Errors are indicated by the google.rpc.Status returned for the request. The OK code indicates success "
    "and other codes indicate failure."
)
READY = 'The "model ready" health API indicates if a specific model is ready for inferencing.'
IDS = "If specified will be returned in the response."
RAW = (
    "For each tensor, the size of this content must match what is expected by the tensor's shape and data "
    "type."
)
ONLY = (
    "If this field is specified then InferInputTensor::contents must not be specified for any input tensor."
)
OUTPUTS = "Optional, if not specified all outputs produced by the model will be returned."
TYPED = (
    'An alternative to the "raw" representation is to use InferTensorContents to represent the tensor data '
    "in a format that matches the tensor's data type."
)
SHAPE = '"shape" : The shape of the tensor. Variable-size dimensions are specified as -1.'
VERSION = (
    "The version of the model to use for inference. If not given the server will choose a version based on "
    "the model and internal policy."
)
FLAT = (
    "In all representations tensor data must be flattened to a one-dimensional, row-major order of the "
    "tensor elements."
)
SERVER = '{ "name" : $string, "version" : $string, "extensions" : [ $string, ... ] }'
BINARY = "(Triton's extension binary_tensor_data; not part of the specification)"
EXTENSION = "(an extension of Triton's; not part of the specification)"
GOOD_JSON = {
    "id": "seven",
    "inputs": [{"name": "panel", "shape": [2, 2, 3], "datatype": "FP32", "data": PANEL.ravel().tolist()}],
}

CASES = [
    Case("gRPC server live", in_grpc(lambda c: c.is_server_live()), True, STATUS),
    Case("gRPC server ready", in_grpc(lambda c: c.is_server_ready()), True, STATUS),
    Case("gRPC model ready", in_grpc(lambda c: c.is_model_ready(MODEL)), True, READY),
    Case("gRPC model ready, version", in_grpc(lambda c: c.is_model_ready(MODEL, "1")), True, READY),
    Case("gRPC model ready, unknown model",
         in_grpc(lambda c: not c.is_model_ready("nothing")), True, READY),
    Case("gRPC server metadata", in_grpc(lambda c: bool(c.get_server_metadata().version)), True, STATUS),
    Case("gRPC model metadata, shape of panel",
         in_grpc(lambda c: list(c.get_model_metadata(MODEL).inputs[0].shape)), [-1, 2, 3], SHAPE),
    Case("gRPC model metadata, versions",
         in_grpc(lambda c: list(c.get_model_metadata(MODEL).versions)), ["1"],
         "The versions of the model available on the server."),
    Case("gRPC model metadata, unknown model",
         in_grpc(lambda c: status(lambda: c.get_model_metadata("nothing"))), "NOT_FOUND", STATUS),
    Case("gRPC infer, raw", in_grpc(lambda c: infer_grpc(c).as_numpy("scores").tolist()), SCORES, RAW),
    Case("gRPC infer, typed", lambda t: scores(t.message(typed_message())), SCORES, TYPED),
    Case("gRPC infer, BYTES output",
         in_grpc(lambda c: infer_grpc(c).as_numpy("statuses").ravel().tolist()), [b"ok", b"ok"], RAW),
    Case("gRPC infer, shape of scores",
         in_grpc(lambda c: list(infer_grpc(c).get_output("scores").shape)), [2], RAW),
    Case("gRPC infer, id", in_grpc(lambda c: infer_grpc(c, request_id="i").get_response().id), "i", IDS),
    Case("gRPC infer, requested output",
         in_grpc(lambda c: requested(c, "statuses")), ["statuses"], OUTPUTS),
    Case("gRPC infer, version",
         in_grpc(lambda c: infer_grpc(c, model_version="1").as_numpy("scores").tolist()), SCORES, VERSION),
    Case("gRPC infer, unknown version",
         in_grpc(lambda c: status(lambda: infer_grpc(c, model_version="99"))), "NOT_FOUND", STATUS),
    Case("gRPC infer, unknown model",
         in_grpc(lambda c: status(lambda: c.infer("nothing", [panel(triton)]))), "NOT_FOUND", STATUS),
    Case("gRPC infer, content shorter than shape",
         lambda t: status(lambda: t.message(short_message())), "INVALID_ARGUMENT", RAW),
    Case("gRPC infer, raw and typed contents",
         lambda t: status(lambda: t.message(both_message())), "INVALID_ARGUMENT", ONLY),
    Case("gRPC infer, no input",
         lambda t: status(lambda: t.message(service_pb2.ModelInferRequest(model_name=MODEL))),
         "INVALID_ARGUMENT", STATUS),
    Case("gRPC infer, compressed",
         in_grpc(lambda c: infer_grpc(c, compression_algorithm="gzip").as_numpy("scores").tolist()),
         SCORES, STATUS),
    Case("gRPC stream", streamed, ["a", "b", "c"], EXTENSION),
    Case("gRPC repository index",
         in_grpc(lambda c: [(m.name, m.state) for m in c.get_model_repository_index().models]),
         [(MODEL, "READY")], EXTENSION),
    Case("gRPC repository load", in_grpc(lambda c: status(lambda: c.load_model(MODEL))), "OK", EXTENSION),
    Case("gRPC repository load, unknown model",
         in_grpc(lambda c: status(lambda: c.load_model("nothing"))), "NOT_FOUND", EXTENSION),
    Case("HTTP server live", in_http(lambda c: c.is_server_live()), True, FAILS),
    Case("HTTP server ready", in_http(lambda c: c.is_server_ready()), True, FAILS),
    Case("HTTP model ready", in_http(lambda c: c.is_model_ready(MODEL)), True, READY),
    Case("HTTP model ready, body",
         lambda t: sorted(t.json(f"/v2/models/{MODEL}/ready")[1] or {}), ["name", "ready"],
         "$ready_model_response = { \"name\" : $string, \"ready\": $bool }"),
    Case("HTTP server metadata, fields",
         lambda t: sorted(t.json("/v2")[1]), ["extensions", "name", "version"],
         SERVER),
    Case("HTTP model metadata, shape of panel",
         in_http(lambda c: c.get_model_metadata(MODEL)["inputs"][0]["shape"]), [-1, 2, 3], SHAPE),
    Case("HTTP model metadata, unknown model", http_error("/v2/models/nothing"), "4xx with error", FAILS),
    Case("HTTP infer, JSON",
         lambda t: t.json(f"/v2/models/{MODEL}/infer", GOOD_JSON)[1]["outputs"][0]["data"], SCORES, RAW),
    Case("HTTP infer, id",
         lambda t: t.json(f"/v2/models/{MODEL}/infer", GOOD_JSON)[1]["id"], "seven",
         "Optional, but if specified this identifier must be returned in the response."),
    Case("HTTP infer, JSON of nested lists",
         lambda t: t.json(f"/v2/models/{MODEL}/infer", {"inputs": [GOOD_JSON["inputs"][0] | {
             "data": PANEL.tolist()}]})[1].get("outputs", [{}])[0].get("data"), SCORES,
         FLAT),
    Case("HTTP infer, binary", in_http(lambda c: infer_http(c).as_numpy("scores").tolist()), SCORES, BINARY),
    Case("HTTP infer, gzip",
         in_http(lambda c: infer_http(c, request_compression_algorithm="gzip").as_numpy("scores").tolist()),
         SCORES, EXTENSION),
    Case("HTTP infer, unknown model",
         http_error("/v2/models/nothing/infer", GOOD_JSON), "4xx with error", FAILS),
    Case("HTTP infer, no input",
         http_error(f"/v2/models/{MODEL}/infer", {"inputs": []}), "4xx with error", FAILS),
    Case("HTTP infer, data shorter than shape",
         http_error(f"/v2/models/{MODEL}/infer", {"inputs": [GOOD_JSON["inputs"][0] | {"data": [1.0]}]}),
         "4xx with error", FAILS),
]  # fmt: skip


def observe(case: Case, target: Target) -> object:
    """What a server shows of a case; a call that the client cannot make is told, not raised."""
    try:
        return case.ask(target)
    except Exception as error:  # noqa: BLE001 - a peer may answer with anything
        return f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """This server as a plain process host, with the linear model as champion."""
    settings = Settings(
        home=tmp_path_factory.mktemp("conformance"),
        serving=ServingSettings(
            model=MODEL, grpc_port=free_port(), http_port=free_port(), metrics_port=0, poll_seconds=60
        ),
    )
    content = linear_onnx()
    registry = Registry(settings.paths.registry)
    registry.register(MODEL, content, card_of(content))
    registry.write_rollout(RolloutDocument(MODEL, "1"), None)
    with ProcessHost(settings) as host:
        yield Target(host.url, host.http_url)


def linear_onnx() -> bytes:
    """The last row times (1, 2, 3)."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["panel", "last"], ["row"], axis=1),
            helper.make_node("MatMul", ["row", "weights"], ["scores"]),
        ],
        "linear",
        [helper.make_tensor_value_info("panel", TensorProto.FLOAT, ["symbols", 2, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["symbols"])],
        [
            numpy_helper.from_array(np.array(1, np.int64), "last"),
            numpy_helper.from_array(np.array([1, 2, 3], np.float32), "weights"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def card_of(content: bytes) -> Card:
    """A card that fits `content`."""
    return Card(
        model=MODEL, family="linear", parameters={}, feature_set="f" * 64, features=("a", "b", "c"),
        inputs=("panel",), lookback=2, horizon=5, score_kind="zscore", cross_sectional=False, snapshot="s",
        train_first="", train_last="", pipeline_run=None, code_revision="test", seed=1, walk_forward=(),
        metrics={}, ranges={}, fidelity={}, gate={"passed": True},
        digest=hashlib.sha256(content).hexdigest(), created_at="2019-01-01T00:00:00+00:00",
    )  # fmt: skip


def absent(reason: str) -> NoReturn:
    """What a test says whose server is not there: on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """MLServer with a runtime that computes the same."""
    folder = tmp_path_factory.mktemp("mlserver")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    installed = subprocess.run(
        [binaries / "pip", "install", "--quiet", "--disable-pip-version-check", "mlserver"],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    if installed.returncode:
        absent(f"MLServer cannot be installed here: {installed.stderr.strip()[-200:]}")
    models = folder / "models"
    models.mkdir()
    target = Target(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    (models / "linear.py").write_text(RUNTIME)
    (models / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None, "debug": False,
                "grpc_port": int(target.grpc_url.split(":")[1]),
                "http_port": int(target.http_url.split(":")[1]), "metrics_port": free_port(),
            }
        )
    )  # fmt: skip
    declared = {"name": MODEL, "implementation": "linear.Linear", "parameters": {"version": "1"}} | TENSORS
    (models / "model-settings.json").write_text(json.dumps(declared))
    with ExitStack() as stack:
        output = stack.enter_context((folder / "log").open("w"))
        child = stack.enter_context(
            subprocess.Popen(
                [binaries / "mlserver", "start", "."], cwd=models, stdout=output, stderr=output,
                env=child_environment(),
            )
        )  # fmt: skip
        stack.callback(child.terminate)
        if not is_up(target, child):
            absent(f"MLServer does not start here: {(folder / 'log').read_text()[-400:]}")
        yield target


def is_up(target: Target, child: subprocess.Popen[bytes]) -> bool:
    """Whether the server answers in time."""
    deadline = monotonic() + START_SECONDS
    with target.grpc() as client:
        while monotonic() < deadline and child.poll() is None:
            try:
                if client.is_model_ready(MODEL):
                    return True
            except InferenceServerException:
                sleep(0.2)
    return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_this_server_conforms(ours: Target, case: Case) -> None:
    """Each call of the protocol shows what the specification says."""
    assert observe(case, ours) == case.expected, case.words


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_differences_from_mlserver_are_written_down(ours: Target, mlserver: Target) -> None:
    """Every case is asked of both servers; what differs is listed with the specification's words."""
    rows = [(case, observe(case, ours), observe(case, mlserver)) for case in CASES]
    same = [case for case, mine, theirs in rows if mine == theirs]
    lines = [
        "The same calls of unmodified tritonclient against alphaloop's process host and MLServer.",
        "Specification: https://github.com/kserve/open-inference-protocol (specification/protocol).",
        f"Python {sys.version.split()[0]}; {len(rows)} cases, {len(same)} alike.",
        "",
        "Alike:",
        *(f"  {case.name}" for case in same),
        "",
        "Different:",
    ]
    for case, mine, theirs in rows:
        if mine != theirs:
            quoted = textwrap.fill(case.words, 96, initial_indent=" " * 4, subsequent_indent=" " * 4)
            lines += [f"  {case.name}", f"    alphaloop: {mine}", f"    MLServer:  {theirs}", quoted, ""]
    EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
    EVIDENCE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    assert len(same) > len(rows) / 2
    assert all(mine == case.expected for case, mine, _ in rows)
