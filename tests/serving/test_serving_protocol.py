"""The protocol's messages: what is read is what was meant, and what is wrong is refused."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.forecasts import SymbolStatus
from serving.protocol.messages import (
    InferenceResponse,
    InvalidRequestError,
    VersionAnswer,
    protobuf_messages,
)
from serving.protocol.tensors import decode_route_keys, decode_symbols, encode_bytes
from serving.server.grpc.grpc_codec import decode_request, encode_response


def by_symbols(*symbols: str, **parameters: Any) -> Any:
    """A request by symbols."""
    request = protobuf_messages().ModelInferRequest(model_name="equities")
    request.inputs.add(name="symbols", datatype="BYTES", shape=[len(symbols)])
    request.raw_input_contents.append(encode_bytes(symbols))
    for name, value in parameters.items():
        field = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], field, value)
    return request


def by_panel(panel: np.ndarray[Any, Any], typed: bool = False) -> Any:
    """A request by tensor, in either of the protocol's encodings."""
    request = protobuf_messages().ModelInferRequest(model_name="equities")
    tensor = request.inputs.add(name="panel", datatype="FP32", shape=panel.shape)
    if typed:
        tensor.contents.fp32_contents.extend(panel.ravel().tolist())
    else:
        request.raw_input_contents.append(panel.astype("<f4").tobytes())
    return request


@given(st.lists(st.text(max_size=12), min_size=1, unique=True, max_size=20))
def test_texts_survive_a_bytes_tensor(texts: list[str]) -> None:
    """Any distinct texts come back from the raw encoding as they went in."""
    assert decode_symbols([len(texts)], encode_bytes(texts)) == tuple(texts)


def test_bytes_are_encoded_as_tritonclient_does() -> None:
    """Our encoding of a BYTES tensor is byte for byte that of tritonclient."""
    from tritonclient.utils import serialize_byte_tensor

    theirs = serialize_byte_tensor(np.array([b"AAPL", "é".encode()], dtype=object)).item()
    assert encode_bytes(["AAPL", "é"]) == theirs


@given(st.binary(max_size=40), st.integers(1, 4))
def test_no_bytes_break_the_reader(raw: bytes, count: int) -> None:
    """Whatever bytes come, they are read or refused."""
    try:
        assert len(decode_symbols([count], raw)) == count
    except InvalidRequestError as error:
        assert "symbol" in str(error)
    try:
        assert len(decode_route_keys([count], raw)) == count
    except InvalidRequestError as error:
        assert "route" in str(error)


@pytest.mark.parametrize("typed", [False, True])
def test_a_panel_is_read_from_both_encodings(typed: bool) -> None:
    """Raw and typed contents mean the same tensor."""
    panel = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    request = decode_request(by_panel(panel, typed))
    assert request.panel is not None
    assert np.array_equal(request.panel, panel)
    assert request.size == 2


def test_symbols_are_read_from_typed_contents() -> None:
    """BYTES as `bytes_contents`, as other clients send them, are read too."""
    request = by_symbols("KO", as_of="2019-01-03T21:00:00+00:00")
    del request.raw_input_contents[:]
    request.inputs[0].contents.bytes_contents.append(b"KO")
    assert decode_request(request).symbols == ("KO",)


def test_parameters_are_read() -> None:
    """Bar, sleeve and generation come from the request's parameters, in UTC."""
    request = decode_request(
        by_symbols("KO", as_of="2019-01-03T16:00:00-05:00", route_key="sleeve-03", min_generation=4)
    )
    assert request.as_of == datetime(2019, 1, 3, 21, 0, tzinfo=UTC)
    assert (request.route_key, request.min_generation) == ("sleeve-03", 4)


BAR = "2019-01-03T21:00:00+00:00"


def _but(make: Callable[[], Any], change: Callable[[Any], Any]) -> Any:
    request = make()
    change(request)
    return request


def _raw(request: Any, content: bytes) -> None:
    request.raw_input_contents[0] = content


def panel_request() -> Any:
    """A good request by tensor."""
    return by_panel(np.zeros((2, 2, 3), np.float32))


def symbols_request() -> Any:
    """A good request by symbols."""
    return by_symbols("KO", "XOM", as_of=BAR)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (by_symbols("KO"), "needs the parameter 'as_of'"),
        (by_symbols("KO", as_of="yesterday"), "'as_of' is 'yesterday'"),
        (by_symbols("KO", as_of="2019-01-03T21:00:00"), "with zone"),
        (by_symbols("KO", as_of=BAR, min_generation="new"), "'min_generation' is 'new'"),
        (by_symbols("KO", as_of=BAR, min_generation=-1), "'min_generation' is -1"),
        (by_symbols("KO", as_of=BAR, min_generation=True), "'min_generation' is True"),
        (by_symbols("KO", "KO", as_of=BAR), "symbol 'KO' is asked for twice"),
        (by_symbols(as_of=BAR), r"shape \[0\]"),
        (by_panel(np.zeros((2, 3), np.float32)), r"shape \[2, 3\]; it is \[symbols, lookback, features\]"),
        (by_panel(np.zeros((0, 2, 3), np.float32)), r"shape \[0, 2, 3\]"),
        (protobuf_messages().ModelInferRequest(model_name="m"), "give one input"),
        (_but(panel_request, lambda r: setattr(r.inputs[0], "name", "x")), "no input 'x'"),
        (_but(panel_request, lambda r: setattr(r.inputs[0], "datatype", "FP64")), "FP64; it is FP32"),
        (_but(panel_request, lambda r: r.inputs[0].shape.__setitem__(0, 3)), "48 bytes; .* needs 72"),
        (_but(panel_request, lambda r: r.raw_input_contents.append(b"")), "1 inputs and 2 raw contents"),
        (_but(panel_request, lambda r: r.inputs.append(r.inputs[0])), "2 inputs and 1 raw contents"),
        (_but(panel_request, lambda r: r.outputs.add(name="y")), "no output 'y'"),
        (_but(symbols_request, lambda r: r.inputs[0].shape.__setitem__(0, 3)), "2 elements, its shape says"),
        (
            _but(symbols_request, lambda r: _raw(r, struct.pack("<I", 9) + b"KO")),
            "ends inside an element",
        ),
        (
            _but(symbols_request, lambda r: _raw(r, b"\x01\x00\x00\x00\xff")),
            "cannot be read",
        ),
    ],
)
def test_a_wrong_request_is_refused_by_name(request_: Any, message: str) -> None:
    """Each thing that can be wrong with a request is named."""
    with pytest.raises(InvalidRequestError, match=message):
        decode_request(request_)


def test_only_the_outputs_asked_for_are_sent() -> None:
    """Tensors come in the order asked for, with typed parameters beside them."""
    lineage: dict[str, str | int | bool] = {"version": "1", "route": "champion", "generation": 3}
    answer = VersionAnswer(np.array([0.5], np.float32), (SymbolStatus.OK,), lineage | {"registry_away": True})
    response = InferenceResponse("equities", "7", (answer,))
    message = encode_response(response, ("statuses",))
    assert [output.name for output in message.outputs] == ["statuses"]
    assert message.raw_output_contents == [encode_bytes(["ok"])]
    assert message.parameters["generation"].int64_param == 3
    assert message.parameters["registry_away"].bool_param is True
    assert message.parameters["route"].string_param == "champion"


def test_answers_that_differ_share_nothing() -> None:
    """Of two answers of one version each has its own id, hash, bar and scores, though the rest is kept."""
    for place, symbols in enumerate((1, 2, 1)):
        own = {"prediction_id": f"p{place}", "input_hash": f"h{place}", "feature_timestamp": f"t{place}"}
        shared: dict[str, str | int | bool] = {"version": "1", "route": "champion", "generation": place // 2}
        scores = np.full(symbols, place, np.float32)
        answer = VersionAnswer(scores, (SymbolStatus.OK,) * symbols, shared | own)
        response = InferenceResponse("equities", str(place), (answer,))
        message = encode_response(response, ("scores", "statuses"))
        assert message.id == str(place)
        assert {name: message.parameters[name].string_param for name in own} == own
        assert message.parameters["generation"].int64_param == place // 2
        assert [list(output.shape) for output in message.outputs] == [[symbols], [symbols]]
        assert message.raw_output_contents[0] == scores.tobytes()


def test_the_messages_have_a_name_that_can_be_imported() -> None:
    """After `messages()` the module that pickled messages name is tritonclient's."""
    module = protobuf_messages()
    assert sys.modules["grpc_service_pb2"] is module
    assert sys.modules[module.ModelInferRequest.__module__] is module
