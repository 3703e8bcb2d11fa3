"""The protocol's JSON, and its extension for binary tensor data.

With the header `Inference-Header-Content-Length` a body is JSON of that many bytes and then the content of
each tensor that has the parameter `binary_data_size`, in order. A score that is NaN is `null` in JSON.

Specification: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.grpc_codec import raw_output
from serving.protocol import FLOAT, OUTPUTS, SCORES, InferenceRequest, InferenceResponse, InvalidRequestError
from serving.tensors import (
    LARGEST,
    Parameter,
    Tensor,
    join_bytes,
    read_request,
    require_input,
    require_offered,
)

BINARY_SIZE = "binary_data_size"
# Of a length; more than any body has.
MOST_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and which outputs are wanted as binary data."""

    request: InferenceRequest
    binary: frozenset[str]


def decode_infer(body: bytes, header_length: str | None, model: str, version: str) -> Asked:
    """Read a request's body; raises `InvalidRequestError` for one that cannot be answered."""
    head, rest = _split(body, header_length)
    parameters = _parameters(head)
    outputs = _objects(head, "outputs")
    names = [_named(one, "outputs") for one in outputs]
    for name, one in zip(names, outputs, strict=True):
        require_offered(name, _parameters(one))
    by_default = parameters.get("binary_data_output") is True
    binary = [
        name
        for name, one in zip(names, outputs, strict=True)
        if _parameters(one).get("binary_data", by_default) is True
    ]
    request = read_request(
        model,
        version,
        _text(head.get("id", ""), "id"),
        _tensors(head, rest),
        parameters,
        names,
    )
    return Asked(request, frozenset(binary if names else OUTPUTS if by_default else ()))


def encode_infer(response: InferenceResponse, asked: Asked) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON where binary data follow."""
    outputs: list[dict[str, Any]] = []
    contents: list[bytes] = []
    for name in asked.request.outputs:
        output: dict[str, Any] = {
            "name": name,
            "datatype": OUTPUTS[name],
            "shape": [len(response.scores)],
        }
        if name in asked.binary:
            contents.append(raw_output(response, name))
            output["parameters"] = {BINARY_SIZE: len(contents[-1])}
        else:
            output["data"] = _data(response, name)
        outputs.append(output)
    head = {
        "model_name": response.model,
        "model_version": response.version,
        **({"id": response.id} if response.id else {}),
        "parameters": response.parameters,
        "outputs": outputs,
    }
    text = json.dumps(head, allow_nan=False).encode()
    return b"".join([text, *contents]), len(text) if contents else None


def plain(message: Any) -> dict[str, Any]:
    """A protobuf message as JSON: numbers as numbers, where protobuf's own writer makes texts of int64."""
    found: dict[str, Any] = {}
    for one in message.DESCRIPTOR.fields:
        value = getattr(message, one.name)
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            found[one.name] = {key: _plain_value(one.message_type.fields[1], value[key]) for key in value}
        elif isinstance(value, str | bytes | int | float):
            found[one.name] = _plain_value(one, value)
        elif hasattr(value, "DESCRIPTOR"):
            if message.HasField(one.name):
                found[one.name] = plain(value)
        else:
            found[one.name] = [_plain_value(one, item) for item in value]
    return found


def _plain_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    return field.enum_type.values_by_number[value].name if field.enum_type is not None else value


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, empty for an empty one; raises `InvalidRequestError` for anything else."""
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequestError(f"the body is a JSON {type(found).__name__}; it is an object")
    return found


def _split(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    if header_length is None:
        return read_object(body), b""
    digits = header_length if header_length.isascii() and header_length.isdigit() else ""
    if not 0 < len(digits) <= MOST_DIGITS or int(digits) > len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {header_length[:40]!r}; the body has {len(body)} bytes"
        )
    edge = int(digits)
    return read_object(body[:edge]), body[edge:]


def _tensors(head: Mapping[str, Any], rest: bytes) -> list[Tensor]:
    tensors, position = [], 0
    for one in _objects(head, "inputs"):
        name, datatype = _named(one, "inputs"), _text(one.get("datatype", ""), "datatype")
        require_input(name, datatype)
        require_offered(name, _parameters(one))
        size = _parameters(one).get(BINARY_SIZE)
        if size is None:
            content = _content(name, datatype, one.get("data"))
        else:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest) - position:
                raise InvalidRequestError(
                    f"input '{name}' has {BINARY_SIZE} {size!r}; {len(rest) - position} bytes are left"
                )
            if "data" in one:
                raise InvalidRequestError(f"input '{name}' has data and {BINARY_SIZE}; send one of them")
            content = rest[position : position + size]
            position += size
        tensors.append(Tensor(name, datatype, _shape(name, one.get("shape")), content))
    if position != len(rest):
        raise InvalidRequestError(f"{len(rest) - position} bytes of the body belong to no input")
    return tensors


def _content(name: str, datatype: str, data: Any) -> bytes:
    if not isinstance(data, list):
        raise InvalidRequestError(f"input '{name}' has no list 'data' and no {BINARY_SIZE}")
    flat = _flat(name, data)
    if datatype == FLOAT:
        numbers = [math.nan if one is None else one for one in flat]
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
            raise InvalidRequestError(f"input '{name}' holds what is no number")
        try:
            with np.errstate(over="ignore"):
                return np.asarray(numbers, dtype="<f4").tobytes()
        except OverflowError as error:
            raise InvalidRequestError(f"input '{name}' holds a number that is too large") from error
    try:
        return join_bytes(_text(one, name).encode() for one in flat)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"input '{name}' holds a text that is not Unicode: {error}") from error


def _flat(name: str, data: list[Any]) -> list[Any]:
    """Nested lists in row-major order; the shape says how they nest."""
    while any(isinstance(one, list) for one in data):
        if not all(isinstance(one, list) for one in data):
            raise InvalidRequestError(f"input '{name}' mixes values and lists")
        data = [value for one in data for value in one]
    return data


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(
        isinstance(one, int) and not isinstance(one, bool) and abs(one) <= LARGEST for one in shape
    ):
        raise InvalidRequestError(
            f"input '{name}' has shape {shape!r:.80}; it is a list of whole numbers of at most 64 bits"
        )
    return tuple(shape)


def _objects(head: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = head.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidRequestError(f"'{name}' is {found!r:.80}; it is a list of objects")
    return found


def _named(one: Mapping[str, Any], where: str) -> str:
    return _text(one.get("name"), f"name in {where}")


def _parameters(one: Mapping[str, Any]) -> dict[str, Parameter]:
    found = one.get("parameters", {})
    if not isinstance(found, dict):
        raise InvalidRequestError(f"'parameters' is {found!r:.80}; it is an object")
    return found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"'{name}' is {value!r:.80}; it is a text")
    return value


def _data(response: InferenceResponse, name: str) -> list[Any]:
    if name == SCORES:
        return [one if math.isfinite(one) else None for one in response.scores.tolist()]
    return [str(one) for one in response.statuses]
