"""Protobuf messages of the protocol: decodes requests and encodes answers.

In `raw_input_contents` tensors are row-major and little-endian, and an element of BYTES is its length in
4 bytes and then its bytes; `InferTensorContents` is the protocol's other encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from serving.protocol.messages import (
    ANSWER,
    EXTENSIONS,
    FLOAT,
    INPUTS,
    OUTPUTS,
    PLATFORM,
    SCORES,
    SERVER_NAME,
    InferenceRequest,
    InferenceResponse,
    InvalidRequestError,
    ModelDescription,
    protobuf_messages,
)
from serving.protocol.tensors import (
    Parameter,
    Tensor,
    encode_bytes,
    encode_same_bytes,
    join_bytes,
    read_request,
    require_input,
    require_supported_parameters,
)
from serving.server.grpc.protobuf_fields import require_few_fields

if TYPE_CHECKING:
    from serving.inference.model_repository import IndexEntry
    from serving.server.request_statistics import VersionStatistics

# Parameters that differ in each answer.
VARYING_PARAMETERS = ("prediction_id", "input_hash", "feature_timestamp")
# Values of a typed tensor that are converted in one call.
PIECE_VALUES = 2**14
# Fields of `ModelStatistics` and `StatisticDuration` that Triton and this server both count.
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


def decode_request(message: Any) -> InferenceRequest:
    """Decode a `ModelInferRequest`; raises `InvalidRequestError` if it cannot be answered."""
    return read_request(
        message.model_name,
        message.model_version,
        message.id,
        _tensors(message),
        read_proto_parameters(message.parameters),
        _requested(message.outputs),
    )


def parse_large_request(content: bytes) -> Any:
    """Parse the bytes of a `ModelInferRequest`; raises `InvalidRequestError` for too many fields."""
    kind = protobuf_messages().ModelInferRequest
    require_few_fields(content, kind.DESCRIPTOR)
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise malformed_message_error(error) from error


def malformed_message_error(error: DecodeError) -> InvalidRequestError:
    """Build the error for bytes that protobuf cannot parse."""
    return InvalidRequestError(f"this is not a message of the protocol: {error}")


def read_proto_parameters(parameters: Any) -> dict[str, Parameter]:
    """Return the values of a map of `InferParameter`, or of `ModelRepositoryParameter`."""
    return {name: _parameter(value) for name, value in parameters.items()}


def encode_response(response: InferenceResponse, outputs: Sequence[str]) -> Any:
    """Encode a `ModelInferResponse` with the tensors named in `outputs`."""
    parameters = response.parameters
    fixed = tuple(item for item in parameters.items() if item[0] not in VARYING_PARAMETERS)
    shapes = tuple((name, response.shape(name)) for name in outputs)
    message = protobuf_messages().ModelInferResponse()
    message.MergeFromString(_frame(response.model, response.version, fixed, shapes))
    message.id = response.id
    for name in VARYING_PARAMETERS:
        if name in parameters:
            message.parameters[name].string_param = str(parameters[name])
    for name in outputs:
        message.raw_output_contents.append(raw_output(response, name))
    return message


@lru_cache(maxsize=64)
def _frame(
    model: str,
    version: str,
    parameters: tuple[tuple[str, str | int | bool], ...],
    outputs: tuple[tuple[str, tuple[int, ...]], ...],
) -> bytes:
    """Encode the part that consecutive answers share; parsing it takes a quarter of building it."""
    message = protobuf_messages().ModelInferResponse(model_name=model, model_version=version)
    for name, value in parameters:
        if isinstance(value, bool):
            message.parameters[name].bool_param = value
        elif isinstance(value, int):
            message.parameters[name].int64_param = value
        else:
            message.parameters[name].string_param = value
    for name, shape in outputs:
        message.outputs.add(name=name, datatype=OUTPUTS[name]).shape.extend(shape)
    return bytes(message.SerializeToString())


def raw_output(response: InferenceResponse, name: str) -> bytes:
    """Return the binary content of the output `name`."""
    if name == SCORES:
        return response.scores.astype("<f4", copy=False).tobytes()
    if name == ANSWER:
        return np.array(response.answer_of, "<i8").tobytes()
    texts = response.texts(name)
    return encode_bytes(texts) if name in VARYING_PARAMETERS else encode_same_bytes(texts)


def encode_server_metadata() -> Any:
    """Encode a `ServerMetadataResponse`."""
    return protobuf_messages().ServerMetadataResponse(
        name=SERVER_NAME, version=version(SERVER_NAME), extensions=EXTENSIONS
    )


def encode_metadata(description: ModelDescription) -> Any:
    """Encode a `ModelMetadataResponse`."""
    message = protobuf_messages().ModelMetadataResponse(
        name=description.model, versions=description.versions, platform=PLATFORM
    )
    shapes = description.input_shapes()
    for name, datatype in INPUTS.items():
        message.inputs.add(name=name, datatype=datatype).shape.extend(shapes[name])
    for name, datatype in OUTPUTS.items():
        message.outputs.add(name=name, datatype=datatype).shape.append(-1)
    return message


def encode_config(description: ModelDescription) -> Any:
    """Encode a `ModelConfigResponse`: the parts of Triton's model configuration that apply here."""
    message = protobuf_messages().ModelConfigResponse()
    config = message.config
    config.name, config.platform, config.backend = description.model, PLATFORM, "onnxruntime"
    config.version_policy.specific.versions.extend(int(number) for number in description.versions)
    shapes = description.input_shapes()
    for name, datatype in INPUTS.items():
        # A request has 'panel' or 'symbols', and may have 'route_key'.
        config.input.add(name=name, data_type=_triton_type(datatype), dims=shapes[name], optional=True)
    for name, datatype in OUTPUTS.items():
        config.output.add(name=name, data_type=_triton_type(datatype), dims=[-1])
    config.instance_group.add(name=description.model, kind="KIND_CPU", count=1)
    for name, text in description.properties.items():
        config.parameters[name].string_value = text
    return message


def encode_index(entries: Sequence[IndexEntry]) -> Any:
    """Encode a `RepositoryIndexResponse`."""
    message = protobuf_messages().RepositoryIndexResponse()
    for entry in entries:
        message.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
    return message


def encode_statistics(statistics: Sequence[VersionStatistics]) -> Any:
    """Encode a `ModelStatisticsResponse`; durations are in nanoseconds."""
    message = protobuf_messages().ModelStatisticsResponse()
    for entry in statistics:
        row = message.model_stats.add(
            name=entry.model,
            version=entry.version,
            last_inference=entry.last_inference,
            inference_count=entry.inferences,
            execution_count=entry.executions,
        )
        for name, duration in entry.durations().items():
            field = getattr(row.inference_stats, name)
            field.count, field.ns = duration.count, duration.ns
    return message


def _tensors(message: Any) -> list[Tensor]:
    raw, inputs = message.raw_input_contents, message.inputs
    if raw and len(raw) != len(inputs):
        raise InvalidRequestError(f"the request has {len(inputs)} inputs and {len(raw)} raw contents")
    tensors = []
    for index, tensor in enumerate(inputs):
        require_input(tensor.name, tensor.datatype)
        if tensor.parameters:
            require_supported_parameters(tensor.name, tensor.parameters)
        if raw and tensor.HasField("contents"):
            raise InvalidRequestError(f"input '{tensor.name}' has raw and typed contents; send one of them")
        content = raw[index] if raw else _typed(tensor)
        tensors.append(Tensor(tensor.name, tensor.datatype, tuple(tensor.shape), content))
    return tensors


def _requested(outputs: Any) -> list[str]:
    for output in outputs:
        if output.parameters:
            require_supported_parameters(output.name, output.parameters)
    return [output.name for output in outputs]


def _typed(tensor: Any) -> bytes:
    """Convert `InferTensorContents`, the protocol's other encoding, to raw content."""
    if tensor.datatype == FLOAT:
        values = tensor.contents.fp32_contents
        # In pieces, because one call would block the other threads for its whole length.
        pieces = range(0, len(values), PIECE_VALUES)
        return b"".join(np.array(values[at : at + PIECE_VALUES], dtype="<f4").tobytes() for at in pieces)
    return join_bytes(tensor.contents.bytes_contents)


def _parameter(value: Any) -> Parameter:
    kind = value.WhichOneof("parameter_choice")
    return getattr(value, kind) if kind else None


def _triton_type(datatype: str) -> str:
    """Return the name in Triton's `DataType` of a datatype of the protocol."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
