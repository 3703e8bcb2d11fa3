"""Open Inference Protocol messages as the core uses them, and the protocol's names.

The codecs translate these values to and from the wire (`serving/server/grpc/grpc_codec.py`,
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

FLOAT, BYTES, INTEGER = "FP32", "BYTES", "INT64"
PANEL, SYMBOLS, ROUTE_KEY = "panel", "symbols", "route_key"
INPUTS = {PANEL: FLOAT, SYMBOLS: BYTES, ROUTE_KEY: BYTES}
SCORES, STATUSES = "scores", "statuses"
# Outputs of a request with one route key, unless it names others.
DEFAULT_OUTPUTS = (SCORES, STATUSES)
# Outputs with one element a route key: the index of its answer, and the reason where it has none.
ANSWER, ERROR = "answer", "error"
# Outputs with one element an answer, which a request with one route key gets as parameters.
LINEAGE = (
    "version",
    "route",
    "digest",
    "prediction_id",
    "feature_timestamp",
    "input_hash",
    "feature_set",
    "snapshot",
)
OUTPUTS = {SCORES: FLOAT, STATUSES: BYTES, ROUTE_KEY: BYTES, ANSWER: INTEGER, ERROR: BYTES} | dict.fromkeys(
    LINEAGE, BYTES
)
# Parameters that all answers to one request share.
REQUEST_PARAMETERS = ("generation", "registry_away")
SERVER_NAME = "alphaloop"
# Full name of the protocol's gRPC service.
SERVICE = "inference.GRPCInferenceService"
PLATFORM = "onnxruntime_onnx"
# Triton's names of the protocol's optional parts, listed in the server metadata.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")


# Maximum number of characters of a client's value that an error message repeats.
MAX_SHOWN_CHARACTERS = 80


class InvalidRequestError(InputError):
    """Request that violates the protocol or the model's metadata."""


def abbreviate(value: object) -> str:
    """Return the beginning of `value` for a message.

    Does not walk through the whole of a long or deep value.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = MAX_SHOWN_CHARACTERS
    return short.repr(value)[:MAX_SHOWN_CHARACTERS]


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """Inference request of a client, with either `panel` or `symbols`.

    Parameters
    ----------
    model : str
        Name of the model.
    version : str
        Version to score with; empty leaves the choice to the router.
    id : str
        The client's id of the request, repeated in the response.
    panel : ndarray of float32, shape [symbols, lookback, features], optional
        Features from the client; NaN marks a missing value.
    symbols : tuple of str, optional
        Symbols for which the server reads the features from its online store.
    as_of : datetime, optional
        Close of the bar, in UTC; required with `symbols`.
    route_key : str
        Sleeve of capital that the prediction is for.
    route_keys : tuple of str, optional
        Several sleeves, each of which is routed for itself; the response then has a table of answers.
    min_generation : int
        Oldest generation of the rollout document that the client accepts.
    outputs : tuple of str
        Names of the outputs to return.
    timeout : float, optional
        Seconds after which the answer is of no use (on the wire Triton's parameter, in microseconds).

    Examples
    --------
    >>> InferenceRequest("momentum", symbols=("AAPL", "MSFT")).size
    2
    """

    model: str
    version: str = ""
    id: str = ""
    panel: Panel | None = None
    symbols: tuple[str, ...] | None = None
    as_of: datetime | None = None
    route_key: str = ""
    route_keys: tuple[str, ...] | None = None
    min_generation: int = 0
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    timeout: float | None = None

    @property
    def size(self) -> int:
        """Number of symbols."""
        return len(self.panel) if self.panel is not None else len(self.symbols or ())

    @property
    def keys(self) -> tuple[str, ...]:
        """The route keys, whichever way the client sent them."""
        return (self.route_key,) if self.route_keys is None else self.route_keys


@dataclass(frozen=True, slots=True)
class Timing:
    """Start of a request's processing, and the seconds that its parts took.

    `started` is on `alphaloop.clock.monotonic`. `features` is the time to read the inputs and `inference` the
    time of the model run; in a batch, that of the whole run. `scored_symbols` is the number of symbols in
    that run, reported on the first request of a batch and 0 on the rest, so that metrics do not count it
    twice.
    """

    started: float = 0.0
    features: float = 0.0
    inference: float = 0.0
    scored_symbols: int = 0


@dataclass(frozen=True, slots=True)
class VersionAnswer:
    """Answer of one version to the route keys that led to it.

    Parameters
    ----------
    scores : ndarray of float32, shape [symbols]
        Scores, NaN for a masked symbol.
    statuses : tuple of SymbolStatus
        One status a symbol.
    parameters : dict
        Lineage of the prediction: the texts named in `LINEAGE`, `generation`, and marks such as `stale`.
    timing : Timing
        Durations for metrics; not sent to the client.
    """

    scores: Scores
    statuses: tuple[SymbolStatus, ...]
    parameters: dict[str, str | int | bool]
    timing: Timing = field(default_factory=Timing)

    @property
    def version(self) -> str:
        """Version that answered."""
        return str(self.parameters["version"])

    @property
    def route(self) -> str:
        """Role of the version (`alphaloop.forecasts.Route`)."""
        return str(self.parameters["route"])


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """Response of the server: answers, and the answer of each route key.

    Parameters
    ----------
    model : str
        Model that answered.
    id : str
        Id of the request.
    answers : tuple of VersionAnswer
        At least one answer; the only one where the request has one route key as a parameter.
    route_keys : tuple of str, optional
        Route keys of the request, where they came as a tensor.
    answer_of : tuple of int
        For each of `route_keys`, the index of its answer; -1 where its version failed.
    errors : tuple of str
        For each of `route_keys`, the reason why it has no answer; empty where it has one.
    """

    model: str
    id: str
    answers: tuple[VersionAnswer, ...]
    route_keys: tuple[str, ...] | None = None
    answer_of: tuple[int, ...] = (0,)
    errors: tuple[str, ...] = ("",)

    @property
    def version(self) -> str:
        """Version that answered; empty where several did."""
        first = self.answers[0].version
        several = len(self.answers) > 1 and any(answer.version != first for answer in self.answers)
        return "" if several else first

    @property
    def scores(self) -> Scores:
        """Scores, float32 `[symbols]`; for route keys from a tensor `[answers, symbols]`."""
        if self.route_keys is None:
            return self.answers[0].scores
        return np.stack([answer.scores for answer in self.answers])

    @property
    def statuses(self) -> tuple[SymbolStatus, ...]:
        """One status a symbol, answer after answer."""
        if len(self.answers) == 1:
            return self.answers[0].statuses
        return tuple(status for answer in self.answers for status in answer.statuses)

    @property
    def parameters(self) -> dict[str, str | int | bool]:
        """Lineage of the only answer; for route keys from a tensor, the facts that all answers share."""
        parameters = self.answers[0].parameters
        if self.route_keys is None:
            return parameters
        return {name: parameters[name] for name in REQUEST_PARAMETERS if name in parameters}

    def shape(self, output: str) -> tuple[int, ...]:
        """Return the shape of the output of that name."""
        if output in (ROUTE_KEY, ANSWER, ERROR):
            return (len(self.answer_of),)
        if output in LINEAGE:
            return (len(self.answers),)
        symbols = len(self.answers[0].scores)
        return (symbols,) if self.route_keys is None else (len(self.answers), symbols)

    def texts(self, output: str) -> tuple[str, ...]:
        """Return the elements of the BYTES output of that name, row by row."""
        if output == STATUSES:
            return self.statuses
        if output == ROUTE_KEY:
            return self.route_keys or ("",)
        if output == ERROR:
            return self.errors
        return tuple(str(answer.parameters.get(output, "")) for answer in self.answers)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Model metadata: versions, and the shape of `panel`.

    Parameters
    ----------
    model : str
        Name of the model.
    versions : tuple of str
        Versions in the registry, or the one that was requested.
    lookback, features : int
        Rows and columns of a symbol's window.
    properties : dict of str
        Further facts of the model card, by name.

    Examples
    --------
    >>> ModelDescription("momentum", ("1",), lookback=20, features=6).input_shapes()
    {'panel': (-1, 20, 6), 'symbols': (-1,), 'route_key': (-1,)}
    """

    model: str
    versions: tuple[str, ...]
    lookback: int
    features: int
    properties: dict[str, str] = field(default_factory=dict)

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each input; -1 stands for any number."""
        return {PANEL: (-1, self.lookback, self.features), SYMBOLS: (-1,), ROUTE_KEY: (-1,)}


@cache
def protobuf_messages() -> Any:
    """Return the module of protobuf classes.

    Ray Serve pickles messages by the module name in tritonclient's generated code, `grpc_service_pb2`, which
    no process can import. So that name is registered for the real module in every process that calls this.
    """
    from tritonclient.grpc import model_config_pb2, service_pb2

    sys.modules.setdefault("grpc_service_pb2", service_pb2)
    sys.modules.setdefault("model_config_pb2", model_config_pb2)
    return service_pb2
