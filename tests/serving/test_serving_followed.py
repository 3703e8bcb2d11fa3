"""What a client may send beside the plainest request is followed, or refused by name."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from serving.protocol.errors import NotOfferedError, RequestTooLargeError, UnauthenticatedError
from serving.protocol.messages import SERVICE, InvalidRequestError
from serving.security.access import AccessTokens, Scope
from serving.server.grpc.grpc_health import HealthService
from serving.server.http import http_compression
from serving.server.http.http_codec import decode_infer
from serving.server.http.http_compression import MAX_MEMBERS, compress, decompress
from serving.server.metrics import metrics_application

from .edges import Context, Edges, json_panel, panel_message

PANEL = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


@pytest.fixture
def edges(shelf: Any, serve: Any) -> Iterator[Edges]:
    """Both edges over a champion."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    yield Edges(serve(shelf).core)


REPOSITORY_CALLS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("load", {"config": '{"max_batch_size": 16}'}, 501, "does not offer the parameter 'config' of a load"),
    ("load", {"file:9/model.onnx": "AAAA"}, 501, "does not offer the parameter 'file:9/model.onnx'"),
    ("load", {"verison": "1"}, 400, "no parameter 'verison' of a load; known: version"),
    ("load", {"unload_dependents": True}, 400, "no parameter 'unload_dependents' of a load"),
    ("unload", {"config": "{}"}, 501, "does not offer the parameter 'config' of an unload"),
    ("unload", {"force": True}, 400, "known: version, unload_dependents"),
    ("load", {"version": True}, 400, "'version' is True"),
    ("load", {"version": "1"}, 200, ""),
    ("load", {"version": None}, 200, ""),
    ("unload", {"version": 2, "unload_dependents": True}, 200, ""),
)


def test_parameters_of_load_and_unload_are_followed_or_named(edges: Edges, shelf: Any) -> None:
    """On both wires: what cannot be followed is never taken as done."""
    shelf.add(3.0, 2.0, 1.0)
    for verb, parameters, status, why in REPOSITORY_CALLS:
        path = f"/v2/repository/models/{shelf.name}/{verb}"
        found, answer, _ = edges.http(path, json.dumps({"parameters": parameters}).encode())
        assert (found, why in str(answer)) == (status, True), answer
        request = getattr(service_pb2, f"RepositoryModel{verb.capitalize()}Request")(model_name=shelf.name)
        for name, value in parameters.items():
            kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
            if value is not None:
                setattr(request.parameters[name], kinds[type(value)], value)
        code, details, _ = edges.call(f"RepositoryModel{verb.capitalize()}", request)
        expected = {501: "UNIMPLEMENTED", 400: "INVALID_ARGUMENT", 200: "OK"}[status]
        assert (code.name, why in details) == (expected, True), details


def test_a_name_beside_the_parameters_is_refused_too(edges: Edges, shelf: Any) -> None:
    """A version that stands in the wrong place would otherwise load another."""
    status, answer, _ = edges.http(f"/v2/repository/models/{shelf.name}/load", b'{"version": "1"}')
    assert (status, answer["error"]) == (400, "there is no 'version' in this call; known: parameters")
    status, answer, _ = edges.http("/v2/repository/index", b'{"ready": "yes"}')
    assert (status, answer["error"]) == (400, "'ready' is 'yes'; it is true or false")
    assert edges.http("/v2/repository/index", b'{"ready": null}')[0] == 200


def test_null_is_the_same_as_nothing() -> None:
    """Clients that write out every optional field as null ask for what those ask that leave it out."""
    tensor = {"name": "panel", "datatype": "FP32", "shape": [2, 2, 3], "data": PANEL.tolist()}
    plain = decode_infer(json.dumps({"inputs": [tensor]}).encode(), None, "m", "")
    nulls = {"id": None, "parameters": None, "outputs": None}
    body = json.dumps({**nulls, "inputs": [tensor | {"parameters": None}]}).encode()
    assert repr(decode_infer(body, None, "m", "")) == repr(plain)
    given = {"timeout": None, "as_of": None, "route_key": None, "min_generation": None}
    outputs = [{"name": "scores", "parameters": None}]
    body = json.dumps({"inputs": [tensor], "parameters": given, "outputs": outputs}).encode()
    assert decode_infer(body, None, "m", "").request.outputs == ("scores",)
    head = json.dumps(
        {"inputs": [tensor | {"data": None, "parameters": {"binary_data_size": 48}}]}
    ).encode()  # fmt: skip
    binary = decode_infer(head + PANEL.tobytes(), str(len(head)), "m", "").request.panel
    assert binary is not None
    assert binary.tolist() == PANEL.tolist()


def test_binary_data_without_its_header_are_named() -> None:
    """Where the JSON ends cannot be known without the header: the refusal says which one it is."""
    tensor = {"name": "panel", "datatype": "FP32", "shape": [2, 2, 3], "parameters": {"binary_data_size": 48}}
    head = json.dumps({"inputs": [tensor]}).encode()
    for content in (PANEL.tobytes(), b"\xff" * 48, bytes(48), b"0" * 48):
        with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length"):
            decode_infer(head + content, None, "m", "")
    with pytest.raises(InvalidRequestError, match="0 bytes are left.*Inference-Header-Content-Length"):  # noqa: RUF043
        decode_infer(head, None, "m", "")
    with pytest.raises(InvalidRequestError) as caught:
        decode_infer(b'{"inputs": [}', None, "m", "")
    assert "Header" not in str(caught.value)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip", "gzip"), ("deflate, gzip", "deflate"), ("x-gzip", "gzip"), ("GZIP;Q=0.5", "gzip"),
        ("gzip;q=0", None), ("gzip;q=0.0", None), ("gzip; q = 0.000", None),
        ("gzip ;Q=0., deflate", "deflate"), ("gzip;q=00", None), ("gzip;q=none", None),
        ("gzip;level=1;q=0", None), ("br, *;q=0", None), ("", None),
    ],
)  # fmt: skip
def test_an_encoding_of_weight_zero_is_not_chosen(accepted: str, chosen: str | None) -> None:
    """In whatever spelling: RFC 9110 says "not acceptable" by the number, not by the text."""
    assert compress(b"scores", accepted)[1] == chosen


def test_a_body_may_have_several_gzip_members() -> None:
    """Tools that compress in parallel, or append, write several (RFC 1952, section 2.2)."""
    rng = np.random.default_rng(1)
    parts = [rng.bytes(size) for size in (0, 1, 70_000, 200_000, 5)]
    body = b"".join(map(gzip.compress, parts))
    for encoding in ("gzip", "GZip", "x-gzip"):
        assert decompress(body, encoding, 10**6) == b"".join(parts)
    with pytest.raises(RequestTooLargeError, match="more than 200000 bytes once it is decompressed"):
        decompress(body, "gzip", 200_000)
    for damaged, why in (
        (body[:-1], "ends too early"), (body + b"and more", "not gzip"),
        (gzip.compress(b"") * (MAX_MEMBERS + 1), f"more than {MAX_MEMBERS} members"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequestError, match=why):
            decompress(damaged, "gzip", 10**6)
    with pytest.raises(InvalidRequestError, match="behind the end of its deflate"):
        decompress(zlib.compress(b"a") * 2, "deflate", 100)
    assert http_compression.PIECE_BYTES < 70_000


def test_no_answer_redirects_and_the_server_is_found_with_a_slash(edges: Edges, shelf: Any) -> None:
    """`/v2/` is the server's metadata, as the protocol's OpenAPI file has it; no other place has a slash."""
    evil = {"host": "evil.example"}
    status, answer, headers = edges.http("/v2/", headers=evil)
    assert (status, answer["name"], "location" in headers) == (200, "alphaloop", False)
    for path, body in (
        ("/v2/health/live/", None), (f"/v2/models/{shelf.name}/", None), ("//v2", None),
        (f"/v2/models/{shelf.name}/infer/", b"{}"), ("/v2/repository/index/", b"{}"),
    ):  # fmt: skip
        status, answer, headers = edges.http(path, body, evil)
        assert (status, "error" in answer, "location" in headers) == (404, True, False), path
    assert metrics_application(edges.gateway).router.redirect_slashes is False


def test_health_knows_the_name_of_the_grpc_service(edges: Edges, shelf: Any) -> None:
    """The name by which the health specification suggests to ask is that of the server."""
    health = HealthService(edges.core, edges.gateway.health, 1.0)

    def status(name: str) -> tuple[str, str]:
        context = Context()
        answer = asyncio.run(health.Check(health_pb2.HealthCheckRequest(service=name), context))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), context.code.name

    assert status("") == status(SERVICE) == status(shelf.name) == ("SERVING", "OK")
    assert status("inference.GRPCInferenceServices") == ("SERVICE_UNKNOWN", "NOT_FOUND")
    edges.gateway.health.drain()
    assert status(SERVICE) == ("NOT_SERVING", "OK")


def test_a_stream_says_that_each_answer_is_the_last_of_its_request(edges: Edges, shelf: Any) -> None:
    """Clients of Triton's streams wait for `triton_final_response`: no empty answer is needed for it."""

    async def streamed() -> list[Any]:
        message = panel_message(shelf.name, PANEL)
        message.parameters["triton_enable_empty_final_response"].bool_param = True

        async def messages() -> Any:
            for name in ("a", "b"):
                message.id = name
                yield message

        return [one async for one in edges._service.ModelStreamInfer(messages(), Context())]

    answers = asyncio.run(streamed())
    assert [one.infer_response.id for one in answers] == ["a", "b"]
    assert all(one.infer_response.parameters["triton_final_response"].bool_param for one in answers)
    code, _, single = edges.infer(panel_message(shelf.name, PANEL).SerializeToString())
    assert (code, "triton_final_response" in single.parameters) == (grpc.StatusCode.OK, False)


@pytest.mark.parametrize("name", ["sequence_id", "sequence_start", "sequence_end", "priority"])
def test_sequences_and_priorities_are_refused_by_name(name: str) -> None:
    """They would mean another answer, or another order; where they say nothing they are no obstacle."""
    body = json_panel(PANEL, parameters={name: 7})
    with pytest.raises(NotOfferedError, match=f"parameter '{name}'"):
        decode_infer(body, None, "m", "")
    assert decode_infer(json_panel(PANEL, parameters={name: 0}), None, "m", "").request.panel is not None
    assert decode_infer(json_panel(PANEL, parameters={"mine": 7}), None, "m", "").request.panel is not None


def test_a_missing_score_is_null_in_plain_json(edges: Edges, shelf: Any) -> None:
    """JSON has no NaN: a score that is missing is null, and its status says so."""
    holes = PANEL.tolist()
    holes[1][0][0] = None
    tensor = {"name": "panel", "datatype": "FP32", "shape": [2, 2, 3], "data": holes}
    status, answer, _ = edges.http(
        f"/v2/models/{shelf.name}/infer", json.dumps({"inputs": [tensor]}).encode()
    )
    scores, statuses = (one["data"] for one in answer["outputs"])
    assert (status, scores[1], statuses) == (200, None, ["ok", "missing"])
    assert np.isnan(np.array(scores, np.float32)).tolist() == [False, True]


def test_a_token_may_hold_the_sign_of_a_remark(tmp_path: Any) -> None:
    """`#` begins a remark at a line's beginning or behind a blank: a token is known whole, or not at all."""
    token, digest = "0123456789abcdefghij#klmnop", "a" * 64
    file = tmp_path / "tokens"
    file.write_text(
        f"# clients\ntrader predict {token}\nops admin sha256:{digest} # of the desk\n  # an end\n#{token}\n"
        "other predict abcdefghijklmnopqrst\t# behind a tab\n"
    )
    access = AccessTokens(file)
    assert access.authorise(f"Bearer {token}", Scope.PREDICT) == "trader"
    assert access.authorise("Bearer abcdefghijklmnopqrst", Scope.PREDICT) == "other"
    for wrong in (token.partition("#")[0], f"#{token}", token + "#", "klmnop"):
        with pytest.raises(UnauthenticatedError):
            access.authorise(f"Bearer {wrong}", Scope.PREDICT)


def test_a_client_name_and_a_digest_are_read_whole_too(tmp_path: Any) -> None:
    """A name may hold the sign as a token may, and a remark behind a digest is no part of it."""
    token = "0123456789#abcdefghij"
    file = tmp_path / "tokens"
    file.write_text(f"desk#1 predict sha256:{hashlib.sha256(token.encode()).hexdigest()} #remark\n")
    assert AccessTokens(file).authorise(f"Bearer {token}", Scope.PREDICT) == "desk#1"
