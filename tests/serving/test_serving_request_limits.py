"""One request costs a bounded amount of work, and a large one does not keep the event loop from others."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from alphaloop.forecasts import SymbolStatus
from alphaloop.rollout_document import RolloutState
from serving.inference.core import InferenceCore
from serving.protocol.messages import InvalidRequestError
from serving.protocol.request_limits import (
    LARGE_BYTES,
    LARGE_SYMBOLS,
    MAX_ELEMENTS,
    MAX_PANEL_SYMBOLS,
    MIN_SYMBOL_LIMIT,
    max_request_symbols,
)
from serving.server.grpc.grpc_codec import parse_large_request
from serving.server.grpc.protobuf_fields import MAX_FIELDS, require_few_fields
from serving.server.http import http_codec, json_numbers
from serving.server.http.http_codec import decode_infer, parse_object
from serving.server.large_requests import MAX_BODIES, MAX_CALLS, LargeRequestThread

from .edges import Edges, json_panel, panel_message

RAW, INPUTS = b"\x3a", b"\x2a"
KIND = service_pb2.ModelInferRequest.DESCRIPTOR


@pytest.fixture
def edges(shelf: Any, serve: Callable[..., Any]) -> Iterator[Edges]:
    """Both edges over a core whose model adds up weights (1, 2, 3)."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    yield Edges(serve(shelf).core)


def wide(symbols: int) -> np.ndarray[Any, Any]:
    """A panel of so many symbols, each with other values."""
    return np.arange(symbols * 6, dtype=np.float32).reshape(symbols, 2, 3) / 7


def names(count: int, **changes: Any) -> bytes:
    """A request by so many symbols as JSON."""
    tensor = {
        "name": "symbols",
        "datatype": "BYTES",
        "shape": [count],
        "data": [f"X{n}" for n in range(count)],
    }
    parameters = {"as_of": "2019-01-03T21:00:00+00:00"}
    return json.dumps({"inputs": [tensor | changes], "parameters": parameters}).encode()


@pytest.mark.parametrize(
    "content",
    [
        RAW + b"\0" + (RAW + b"\0") * MAX_FIELDS,
        (INPUTS + b"\0") * (MAX_FIELDS + 1),
        # An input whose contents hold empty texts, and one whose shape has as many numbers.
        INPUTS + b"\xa4\x9c\x01" + b"\x2a\xa0\x9c\x01" + b"\x42\x00" * MAX_FIELDS,
        INPUTS + b"\xa4\x9c\x01" + b"\x1a\xa0\x9c\x01" + b"\x01\x01" * MAX_FIELDS,
    ],
    ids=["raw contents", "inputs", "texts of an input", "numbers of a shape"],
)
def test_a_message_of_very_many_fields_is_refused_unread(content: bytes) -> None:
    """Millions of small fields fit into one message, half a second's reading: they are counted first."""
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_FIELDS} fields"):
        require_few_fields(content, KIND)


def test_a_message_with_one_large_tensor_is_read() -> None:
    """Bytes are no fields: a tensor of 16 MiB passes, and damage is left to the reader."""
    panel = np.zeros((2**18, 1, 16), np.float32)
    assert parse_large_request(panel_message("m", panel).SerializeToString()).model_name == "m"
    typed = service_pb2.ModelInferRequest()
    typed.inputs.add(name="panel", datatype="FP32").contents.fp32_contents.extend([0.5] * 2**18)
    assert len(parse_large_request(typed.SerializeToString()).inputs[0].contents.fp32_contents) == 2**18
    require_few_fields(b"\xff" * 100, KIND)
    with pytest.raises(InvalidRequestError, match="not a message of the protocol"):
        parse_large_request(panel_message("m", panel).SerializeToString()[:-1])


def test_a_panel_has_bounded_symbols_and_values() -> None:
    """What exceeds the limits is refused with the limit, however few bytes JSON needs for it."""
    for shape, most in (
        ([MAX_PANEL_SYMBOLS + 1, 1, 1], MAX_PANEL_SYMBOLS),
        ([2, 1, MAX_ELEMENTS], MAX_ELEMENTS),
    ):
        length = int(np.prod(shape))
        body = json.dumps(
            {"inputs": [{"name": "panel", "datatype": "FP32", "shape": shape,
                         "parameters": {"binary_data_size": 4 * length}}]}
        ).encode()  # fmt: skip
        with pytest.raises(InvalidRequestError, match=f"at most {most}"):
            decode_infer(body + bytes(4 * length), str(len(body)), "m", "")
        flat = json.dumps({"inputs": [{"name": "panel", "datatype": "FP32", "shape": shape}]}).encode()
        flat = flat[:-3] + b', "data": [' + b"0," * (length - 1) + b"0]}]}"
        with pytest.raises(InvalidRequestError, match=f"at most {most}"):
            decode_infer(flat, None, "m", "")


def test_symbols_are_bounded_by_the_universe(shelf: Any, serve: Callable[..., Any], world: Any) -> None:
    """A few times the symbols that a version was trained on may be asked for, and 256 in any case."""
    universe = tuple(f"S{number:02d}" for number in range(100))
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0, universe=universe, ranges={}))
    edges, path = Edges(serve(shelf).core), f"/v2/models/{shelf.name}/infer"
    body = names(401, data=["S00", *(f"X{n}" for n in range(400))])
    status, answer, _ = edges.http(path, body)
    assert (status, "has 401 elements; a request for this model has at most 400" in answer["error"]) == (
        400,
        True,
    )
    status, answer, _ = edges.http(path, names(400, data=["S00", *(f"X{n}" for n in range(399))]))
    assert (status, answer["outputs"][1]["data"][:2]) == (200, ["ok", "missing"])
    assert (max_request_symbols(20), max_request_symbols(100), max_request_symbols(0)) == (
        MIN_SYMBOL_LIMIT,
        400,
        10_000,
    )


def test_a_panel_for_a_version_that_compares_symbols_is_small(shelf: Any, serve: Callable[..., Any]) -> None:
    """Its work may grow with their square: so it takes a few times its universe, and a challenger no more."""
    universe = tuple(f"S{number:02d}" for number in range(100))
    compares = {"universe": universe, "ranges": {}, "cross_sectional": True}
    alone = shelf.add(1.0, 2.0, 3.0)
    shelf.add(3.0, 2.0, 1.0, **compares)
    shelf.route(champion=alone, challenger="2", state=RolloutState.SHADOW)
    served = serve(shelf)
    edges, path = Edges(served.core), f"/v2/models/{shelf.name}/versions/2/infer"
    status, answer, _ = edges.http(path, json_panel(wide(401)))
    why = "has 401 symbols; .* version 2 compares them with each other, and takes at most 400"
    assert (status, re.search(why, answer["error"]) is not None) == (400, True), answer
    assert edges.http(path, json_panel(wide(400)))[0] == 200
    assert edges.http(f"/v2/models/{shelf.name}/infer", json_panel(wide(401)))[0] == 200
    assert edges.http(f"/v2/models/{shelf.name}/infer", json_panel(wide(2)))[0] == 200
    rows = served.rows(4)
    assert sorted((row.version, len(row.scores)) for row in rows) == [
        ("1", 2),
        ("1", 401),
        ("2", 2),
        ("2", 400),
    ]


def test_very_many_symbols_are_refused_before_they_are_read() -> None:
    """A shape beyond all limits is enough, and so are more elements than the shape says."""
    content = b"\0\0\0\0" * 200_000
    for shape, told in ((200_000, "at most 100000"), (3, "more than 3 elements")):
        body = json.dumps(
            {"inputs": [{"name": "symbols", "datatype": "BYTES", "shape": [shape],
                         "parameters": {"binary_data_size": len(content)}}],
             "parameters": {"as_of": "2019-01-03T21:00:00+00:00"}}
        ).encode()  # fmt: skip
        with pytest.raises(InvalidRequestError, match=told):
            decode_infer(body + content, str(len(body)), "m", "")


def test_texts_that_are_kept_with_each_prediction_are_short() -> None:
    """A name or route key of megabytes would be kept thousands of times, in the log and in caches."""
    for length, right in ((256, True), (257, False)):
        body = names(1, data=["é" * (length // 2) + "x" * (length % 2)])
        if right:
            assert decode_infer(body, None, "m", "").request.size == 1
        else:
            with pytest.raises(InvalidRequestError, match="a name of 257 bytes; one has at most 256"):
                decode_infer(body, None, "m", "")
    for length in (1_024, 1_025):
        body = json_panel(wide(1), parameters={"route_key": "k" * length})
        if length == 1_024:
            assert len(decode_infer(body, None, "m", "").request.route_key) == length
        else:
            with pytest.raises(InvalidRequestError, match="'route_key' has 1025 characters"):
                decode_infer(body, None, "m", "")


@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
@pytest.mark.parametrize("indent", [None, 1], ids=["plain", "spaced"])
def test_large_json_is_read_in_pieces_to_the_same_numbers(nested: bool, indent: int | None) -> None:
    """Numbers of every spelling, null and NaN among them, are those that Python's own reader gives."""
    rng = np.random.default_rng(3)
    values = (rng.normal(size=(3_000, 2, 3)) * 10.0 ** rng.integers(-30, 30, (3_000, 2, 3))).tolist()
    values[7][1][2], values[8][0][0], values[9][0] = None, 12, [0, -0.0, 1e-45]
    data = values if nested else [one for rows in values for row in rows for one in row]
    tensor = {"name": "panel", "datatype": "FP32", "data": data, "shape": [3_000, 2, 3]}
    body = json.dumps(
        {"id": "seven", "inputs": [tensor], "outputs": [{"name": "scores"}]}, indent=indent
    ).encode()
    assert len(body) > LARGE_BYTES
    asked = decode_infer(body, None, "m", "")
    expected = np.array(
        [np.nan if one is None else one for rows in values for row in rows for one in row], "<f4"
    )
    assert asked.request.panel is not None
    assert asked.request.panel.tobytes() == expected.tobytes()
    assert (asked.request.id, asked.request.outputs) == ("seven", ("scores",))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace(b"0.5", b"01", 1), "no number"),
        (lambda text: text.replace(b"0.5", b"0 5", 1), "no number"),
        (lambda text: text.replace(b"0.5", b"true", 1), "no number|not JSON"),
        (lambda text: text.replace(b"0.5", b"", 1), "no number"),
        (lambda text: text.replace(b"0.5", b"1" + b"0" * 400, 1), "too large"),
        (lambda text: text.replace(b"[0.5,0.5]", b"[0.5],[0.5]", 1), "nest otherwise"),
        (lambda text: text.replace(b"[0.5,0.5]", b"[0.5,0.5,0.5]", 1), "nest otherwise"),
        (lambda text: text.replace(b"[[0.5,0.5]]", b"[[[0.5,0.5]]]", 1), "nest otherwise"),
        (lambda text: text.replace(b"]]]", b"]]", 1), "nest otherwise|not JSON"),
    ],
)
def test_damaged_numbers_of_large_json_are_refused(change: Callable[[bytes], bytes], why: str) -> None:
    """What is no JSON, no number or not of the shape is refused in pieces as it is in a whole."""
    data = json.dumps([[[0.5, 0.5]]] * 12_000, separators=(",", ":")).encode()
    head = b'{"inputs":[{"name":"panel","datatype":"FP32","shape":[12000,1,2],"data":'
    with pytest.raises(InvalidRequestError, match=why):
        decode_infer(head + change(data) + b"}]}", None, "m", "")


def test_no_piece_of_large_json_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's reader, which lets no other thread run, is given a few KiB at a time."""
    given: list[int] = []
    loads = json.loads
    monkeypatch.setattr(json_numbers.json, "loads", lambda text: given.append(len(text)) or loads(text))
    decode_infer(json_panel(wide(30_000)), None, "m", "")
    assert len(given) > 100
    assert max(given) <= json_numbers.PIECE_BYTES + 64


def test_large_json_that_is_not_numbers_is_refused() -> None:
    """Texts and objects cannot be read in pieces: 413, which names the way that can hold more."""
    for body in (names(20_000), b'{"inputs":[' + b"{}," * 60_000 + b"{}]}", b"[" + b"[]," * 60_000 + b"0]"):
        with pytest.raises(InvalidRequestError, match=r"beside its tensors' numbers.*Inference-Header"):
            parse_object(body)


def test_nesting_is_bounded_and_never_a_defect() -> None:
    """A value nested a thousand deep is refused with words wherever it stands, and is not repeated."""
    deep = "[" * 900 + "]" * 900
    for body in (
        f'{{"inputs": {deep}}}', f'{{"inputs": [{{"name": {deep}}}]}}', f'{{"parameters": {deep}}}',
        f'{{"id": {deep}}}', f'{{"inputs": [{{"name":"panel","datatype":"FP32","shape":{deep}}}]}}',
        f'{{"inputs": [{{"name":"panel","datatype":"FP32","shape":[1,1,1],"data":{deep}}}]}}',
        "[" * 100_000,
    ):  # fmt: skip
        with pytest.raises(InvalidRequestError) as caught:
            decode_infer(body.encode(), None, "m", "")
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "right"),
    [
        ([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]], True),
        (list(range(12)), True),
        ([[[0, 1, 2, 3], [4, 5]], [[6, 7, 8], [9, 10, 11]]], False),
        ([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]], False),
        ([[list(range(12))]], False),
        ([[[], []], [list(range(6)), list(range(6))]], False),
        ([[[[0], [1], [2]], [[3], [4], [5]]], [[[6], [7], [8]], [[9], [10], [11]]]], False),
        ([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], 9]], False),
        ([[*range(12)]], False),
    ],
)
def test_nested_values_have_the_shape_or_are_refused(data: list[Any], right: bool) -> None:
    """Lists nest exactly as the shape, or not at all: else values would slide to other features."""
    tensor = {"name": "panel", "datatype": "FP32", "shape": [2, 2, 3], "data": data}
    body = json.dumps({"inputs": [tensor]}).encode()
    if right:
        panel = decode_infer(body, None, "m", "").request.panel
        assert panel is not None
        assert panel.ravel().tolist() == list(range(12))
    else:
        with pytest.raises(InvalidRequestError, match=r"shape \[2, 2, 3\], and its data nest otherwise"):
            decode_infer(body, None, "m", "")


def test_nested_symbols_are_refused_too() -> None:
    """The rule is that of every input: one dimension of symbols has no lists in it."""
    body = names(2, data=[["AAPL", "MSFT"]])
    with pytest.raises(InvalidRequestError, match=r"'symbols' has shape \[2\], and its data nest otherwise"):
        decode_infer(body, None, "m", "")


def test_large_requests_are_answered_in_a_thread_with_the_same_bits(
    edges: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every way in: its reading, scoring and writing leave the event loop to others."""
    threads: set[str] = set()
    for target, name in ((InferenceCore, "infer"), (http_codec, "_content")):
        inner = getattr(target, name)

        def seen(*given: Any, inner: Any = inner, **named: Any) -> Any:
            threads.add(threading.current_thread().name.rpartition("_")[0])
            return inner(*given, **named)

        monkeypatch.setattr(target, name, seen)
    model, panel = edges.core.settings.serving.model, wide(4_000)
    expected = panel[:, -1] @ np.float32([1, 2, 3])
    code, _, answer = edges.infer(panel_message(model, panel).SerializeToString())
    assert code is grpc.StatusCode.OK
    assert np.allclose(np.frombuffer(answer.raw_output_contents[0], "<f4"), expected)
    path = f"/v2/models/{model}/infer"
    for body, headers in (
        (json_panel(panel), {}), (gzip.compress(json_panel(panel)), {"content-encoding": "gzip"}),
    ):  # fmt: skip
        status, answer, _ = edges.http(path, body, headers)
        assert (status, np.allclose(answer["outputs"][0]["data"], expected)) == (200, True)
        assert answer["outputs"][1]["data"] == [SymbolStatus.OK] * 4_000
    assert threads == {"large-bodies"}
    assert edges.gateway.statistics.for_versions([(model, "1")])[0].answered == 3


def test_many_symbols_in_few_bytes_are_scored_in_a_thread(
    edges: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that is small may be much work: symbols count, not bytes."""
    threads: list[str] = []
    inner = InferenceCore.answer

    def seen(*given: Any, **named: Any) -> Any:
        threads.append(threading.current_thread().name)
        return inner(*given, **named)

    monkeypatch.setattr(InferenceCore, "answer", seen)
    model = edges.core.settings.serving.model
    content = panel_message(model, wide(LARGE_SYMBOLS + 1)).SerializeToString()
    assert len(content) < LARGE_BYTES
    assert edges.infer(content)[0] is grpc.StatusCode.OK
    assert [name.rpartition("_")[0] for name in threads] == ["large-forecasts"]


def test_large_bodies_leave_places_to_others(edges: Edges) -> None:
    """Of many that are sent at once a few are held, the rest is told to wait, and a forecast is answered."""
    model = edges.core.settings.serving.model
    large = panel_message(model, wide(6_000)).SerializeToString()
    small = panel_message(model, wide(2)).SerializeToString()
    asked = [lambda: edges.infer_async(large)] * (2 * MAX_BODIES)
    *many, one = edges.at_once(*asked, lambda: edges.infer_async(small))
    codes = [code for code, _, _ in many]
    assert codes.count(grpc.StatusCode.OK) == MAX_BODIES
    refused = [details for code, details, _ in many if code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(refused) == MAX_BODIES
    assert "large requests are being answered, the most at a time" in refused[0]
    assert one[0] is grpc.StatusCode.OK
    assert edges.gateway.large_bodies.held == 0


def test_calls_that_infer_nothing_are_small(edges: Edges) -> None:
    """Loading, unloading and listing need no megabytes: 413, without reading them."""
    padding = json.dumps({"parameters": {"version": "1", "padding": "x" * LARGE_BYTES}}).encode()
    model = edges.core.settings.serving.model
    for path in ("/v2/repository/index", f"/v2/repository/models/{model}/load"):
        status, answer, _ = edges.http(path, padding)
        assert (status, f"at most {LARGE_BYTES}" in answer["error"]) == (413, True)


def test_calls_that_infer_nothing_are_few_at_a_time(edges: Edges) -> None:
    """They read the registry in threads that others wait for: beyond some they are told to come again."""
    model, message = (
        edges.core.settings.serving.model,
        panel_message(edges.core.settings.serving.model, wide(2)),
    )
    many = edges.at_once(*[lambda: edges.http_async(f"/v2/models/{model}")] * (MAX_CALLS + 3))
    assert sorted(status for status, _, _ in many) == [200] * MAX_CALLS + [429] * 3
    assert [headers["retry-after"] for status, _, headers in many if status == 429] == ["1"] * 3
    edges.gateway.calls.held = MAX_CALLS
    code, details, _ = edges.call("ModelMetadata", service_pb2.ModelMetadataRequest(name=model))
    assert (code.name, "32 calls that infer nothing" in details) == ("RESOURCE_EXHAUSTED", True)
    assert edges.infer(message.SerializeToString())[0] is grpc.StatusCode.OK


def test_work_that_nobody_waits_for_tells_of_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    """What is left after an answer, the log and the other version's scores, does not fail in silence."""

    async def left() -> None:
        work = LargeRequestThread("left")

        def broken() -> None:
            raise ValueError("broken")

        work.defer(broken)
        await work.run(lambda: None)

    asyncio.run(left())
    assert "what was left to do after an answer failed" in caplog.text
