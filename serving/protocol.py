"""The Open Inference Protocol's messages, and what they say, both ways.

The protobuf classes are those that `tritonclient` ships: a second compiled copy of the same file in
one process would collide in protobuf's descriptor pool.

Specification: https://github.com/kserve/open-inference-protocol (`ModelInferRequest`: tensors are
row-major; in `raw_input_contents` a BYTES element is its length as 4 bytes little endian and then
its bytes).
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.clock import as_utc
from alphaloop.errors import InputError
from alphaloop.prediction import SymbolStatus

Panel = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

PANEL, SYMBOLS = "panel", "symbols"
SCORES, STATUSES = "scores", "statuses"
FLOAT, BYTES = "FP32", "BYTES"
INPUTS = {PANEL: FLOAT, SYMBOLS: BYTES}
OUTPUTS = {SCORES: FLOAT, STATUSES: BYTES}


class InvalidRequestError(InputError):
    """A request that does not follow the protocol or the model's metadata."""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asks. Either `panel` (float32 `[symbols, lookback, features]`) or `symbols` is set.

    `version` is empty where the router may choose. `as_of` is the bar asked for, in UTC; `route_key`
    the sleeve of capital; `min_generation` the oldest rollout document the client accepts.
    """

    model: str
    version: str = ""
    id: str = ""
    panel: Panel | None = None
    symbols: tuple[str, ...] | None = None
    as_of: datetime | None = None
    route_key: str = ""
    min_generation: int = 0
    outputs: tuple[str, ...] = (SCORES, STATUSES)

    @property
    def size(self) -> int:
        """The number of symbols."""
        return len(self.panel) if self.panel is not None else len(self.symbols or ())


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """What the server answers: `scores` float32 `[symbols]`, one status a symbol, and the lineage."""

    model: str
    version: str
    id: str
    scores: Scores
    statuses: tuple[SymbolStatus, ...]
    parameters: dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What model metadata says: the versions, and the shape of `panel` (-1 is any number)."""

    model: str
    versions: tuple[str, ...]
    lookback: int
    features: int


def messages() -> Any:
    """The module of protobuf classes.

    Ray Serve pickles messages by the module name that is written in tritonclient's generated code,
    `grpc_service_pb2`, which no process can import. So the name is made to mean the real module, in
    every process that calls this.
    """
    from tritonclient.grpc import model_config_pb2, service_pb2

    sys.modules.setdefault("grpc_service_pb2", service_pb2)
    sys.modules.setdefault("model_config_pb2", model_config_pb2)
    return service_pb2


def decode_request(message: Any) -> InferenceRequest:
    """Read a `ModelInferRequest`; raises `InvalidRequestError` for one that cannot be answered."""
    parameters = {name: _parameter(value) for name, value in message.parameters.items()}
    inputs = _tensors(message)
    symbols = decode_bytes(*inputs[SYMBOLS]) if SYMBOLS in inputs else None
    as_of = _moment(parameters.get("as_of"))
    if symbols is not None and as_of is None:
        raise InvalidRequestError(
            "a request by symbols needs the parameter 'as_of', an ISO 8601 time with zone"
        )
    return InferenceRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        panel=decode_panel(*inputs[PANEL]) if PANEL in inputs else None,
        symbols=symbols,
        as_of=as_of,
        route_key=str(parameters.get("route_key", "")),
        min_generation=_generation(parameters.get("min_generation", 0)),
        outputs=_outputs(output.name for output in message.outputs),
    )


def encode_response(response: InferenceResponse, outputs: Sequence[str]) -> Any:
    """A `ModelInferResponse` with the tensors named in `outputs`."""
    message = messages().ModelInferResponse(
        model_name=response.model, model_version=response.version, id=response.id
    )
    for name, value in response.parameters.items():
        if isinstance(value, bool):
            message.parameters[name].bool_param = value
        elif isinstance(value, int):
            message.parameters[name].int64_param = value
        else:
            message.parameters[name].string_param = value
    for name in outputs:
        tensor = message.outputs.add(name=name, datatype=OUTPUTS[name])
        tensor.shape.append(len(response.scores))
        if name == SCORES:
            message.raw_output_contents.append(response.scores.astype("<f4", copy=False).tobytes())
        else:
            message.raw_output_contents.append(encode_bytes(response.statuses))
    return message


def encode_metadata(description: ModelDescription) -> Any:
    """A `ModelMetadataResponse`."""
    message = messages().ModelMetadataResponse(
        name=description.model, versions=description.versions, platform="onnxruntime_onnx"
    )
    shapes = {PANEL: (-1, description.lookback, description.features), SYMBOLS: (-1,)}
    for name, datatype in INPUTS.items():
        message.inputs.add(name=name, datatype=datatype).shape.extend(shapes[name])
    for name, datatype in OUTPUTS.items():
        message.outputs.add(name=name, datatype=datatype).shape.append(-1)
    return message


def encode_bytes(texts: Iterable[str]) -> bytes:
    """A BYTES tensor as raw content."""
    encoded = (text.encode() for text in texts)
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)


def decode_bytes(shape: Sequence[int], raw: bytes) -> tuple[str, ...]:
    """The texts of a BYTES tensor; raises `InvalidRequestError` where shape and content disagree."""
    if len(shape) != 1 or shape[0] < 1:
        raise InvalidRequestError(f"input 'symbols' has shape {list(shape)}; it is [n] with n of at least 1")
    texts, position = [], 0
    try:
        while position < len(raw):
            (length,) = struct.unpack_from("<I", raw, position)
            position += 4 + length
            if position > len(raw):
                raise InvalidRequestError("input 'symbols' ends inside an element")
            texts.append(raw[position - length : position].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"input 'symbols' cannot be read: {error}") from error
    if len(texts) != shape[0]:
        raise InvalidRequestError(f"input 'symbols' has {len(texts)} elements, its shape says {shape[0]}")
    if len(set(texts)) != len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise InvalidRequestError(f"symbol '{twice}' is asked for twice")
    return tuple(texts)


def decode_panel(shape: Sequence[int], raw: bytes) -> Panel:
    """The float32 panel of raw content; raises `InvalidRequestError` where shape and length disagree."""
    if len(shape) != 3 or any(length < 1 for length in shape):
        raise InvalidRequestError(
            f"input 'panel' has shape {list(shape)}; it is [symbols, lookback, features]"
        )
    expected = 4 * math.prod(shape)
    if len(raw) != expected:
        raise InvalidRequestError(f"input 'panel' has {len(raw)} bytes; shape {list(shape)} needs {expected}")
    return np.frombuffer(raw, dtype="<f4").reshape(shape)


def _tensors(message: Any) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Shape and raw content of each input, by name: exactly one of those in `INPUTS`."""
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequestError(f"the request has {len(message.inputs)} inputs and {len(raw)} raw contents")
    tensors = {}
    for index, tensor in enumerate(message.inputs):
        if tensor.name not in INPUTS:
            raise InvalidRequestError(f"there is no input '{tensor.name}'; give '{PANEL}' or '{SYMBOLS}'")
        if tensor.datatype != INPUTS[tensor.name]:
            raise InvalidRequestError(
                f"input '{tensor.name}' has datatype {tensor.datatype}; it is {INPUTS[tensor.name]}"
            )
        tensors[tensor.name] = (tuple(tensor.shape), raw[index] if raw else _typed(tensor))
    if len(tensors) != 1 or len(message.inputs) != 1:
        raise InvalidRequestError(f"give one input, '{PANEL}' or '{SYMBOLS}', not {len(message.inputs)}")
    return tensors


def _typed(tensor: Any) -> bytes:
    """The protocol's other encoding, `InferTensorContents`, as raw content."""
    if tensor.datatype == FLOAT:
        return np.asarray(tensor.contents.fp32_contents, dtype="<f4").tobytes()
    return b"".join(struct.pack("<I", len(one)) + one for one in tensor.contents.bytes_contents)


def _outputs(asked: Iterable[str]) -> tuple[str, ...]:
    names = tuple(asked)
    for name in names:
        if name not in OUTPUTS:
            raise InvalidRequestError(f"there is no output '{name}'; there are {', '.join(OUTPUTS)}")
    return names or tuple(OUTPUTS)


def _parameter(value: Any) -> str | int | bool | float | None:
    kind = value.WhichOneof("parameter_choice")
    return getattr(value, kind) if kind else None


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return as_utc(datetime.fromisoformat(str(value)))
    except ValueError as error:
        raise InvalidRequestError(
            f"parameter 'as_of' is {value!r}; give an ISO 8601 time with zone"
        ) from error


def _generation(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequestError(f"parameter 'min_generation' is {value!r}; it is a whole number from 0")
    return value
