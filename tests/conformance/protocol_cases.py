"""Cases of the Open Inference Protocol: a call, what a server that conforms shows, and the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

from .protocol_calls import (
    GOOD_JSON,
    MODEL,
    PANEL,
    Target,
    both_message,
    http_error,
    in_grpc,
    in_http,
    infer_grpc,
    infer_http,
    panel,
    requested,
    scores,
    short_message,
    status,
    streamed,
    typed_message,
)

SCORES = [26.0, 62.0]


@dataclass(frozen=True)
class Case:
    """One call: what it shows on a server that conforms, and the specification's words for it."""

    name: str
    ask: Callable[[Target], object]
    expected: object
    words: str


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
