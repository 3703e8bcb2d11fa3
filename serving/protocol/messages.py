"""The Open Inference Protocol as the core speaks it: what is asked, what is answered, and the names.

How this lies on the wire is the codecs' affair (`serving/server/grpc/grpc_codec.py`,
`serving/server/http/http_codec.py`). The protobuf classes are those that `tritonclient` ships: a second
compiled copy of the same file in one process would collide in protobuf's descriptor pool.

Specification: https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError
from alphaloop.forecasts import SymbolStatus

Panel = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

PANEL, SYMBOLS = "panel", "symbols"
SCORES, STATUSES = "scores", "statuses"
FLOAT, BYTES = "FP32", "BYTES"
INPUTS = {PANEL: FLOAT, SYMBOLS: BYTES}
OUTPUTS = {SCORES: FLOAT, STATUSES: BYTES}
SERVER_NAME = "alphaloop"
# The protocol's gRPC service, by its whole name.
SERVICE = "inference.GRPCInferenceService"
PLATFORM = "onnxruntime_onnx"
# Triton's names of the protocol's optional parts, as server metadata lists them.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")


# Characters of a value out of a request that are repeated in a message.
MAX_SHOWN = 80


class InvalidRequestError(InputError):
    """A request that does not follow the protocol or the model's metadata."""


def shown(value: object) -> str:
    """The beginning of `value` for a message; never walks through all of a long or deep one."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = MAX_SHOWN
    return short.repr(value)[:MAX_SHOWN]


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asks. Either `panel` (float32 `[symbols, lookback, features]`) or `symbols` is set.

    `version` is empty where the router may choose. `as_of` is the bar asked for, in UTC; `route_key`
    the sleeve of capital; `min_generation` the oldest rollout document the client accepts; `timeout`
    the seconds after which the answer is of no use (Triton's parameter, there in microseconds).
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
    timeout: float | None = None

    @property
    def size(self) -> int:
        """The number of symbols."""
        return len(self.panel) if self.panel is not None else len(self.symbols or ())


@dataclass(frozen=True, slots=True)
class Timing:
    """When a request's turn came (`alphaloop.clock.monotonic`), and the seconds that its answer took then.

    `features` is reading its inputs, `inference` running the graph: that of its batch, where it had one.
    `scored` is how many symbols that run scored; 0 where it is told by another request of the batch.
    """

    begun: float = 0.0
    features: float = 0.0
    inference: float = 0.0
    scored: int = 0


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """What the server answers: `scores` float32 `[symbols]`, one status a symbol, and the lineage."""

    model: str
    version: str
    id: str
    scores: Scores
    statuses: tuple[SymbolStatus, ...]
    parameters: dict[str, str | int | bool]
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What model metadata says: the versions, and the shape of `panel` (-1 is any number).

    `properties` are further facts of the card, by name.
    """

    model: str
    versions: tuple[str, ...]
    lookback: int
    features: int
    properties: dict[str, str] = field(default_factory=dict)

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input."""
        return {PANEL: (-1, self.lookback, self.features), SYMBOLS: (-1,)}


@cache
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
