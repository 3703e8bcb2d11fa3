"""Requests of the client as protocol messages, and readers of the answers.

The messages are those of `tritonclient`; any other client of the protocol gets the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from alphaloop.clock import as_utc
from alphaloop.errors import ServingError
from alphaloop.forecasts import Forecast, Route, SymbolStatus
from serving.protocol.messages import (
    BYTES,
    FLOAT,
    PANEL,
    SCORES,
    STATUSES,
    SYMBOLS,
    Panel,
    Scores,
    protobuf_messages,
)
from serving.protocol.tensors import encode_bytes


class RequestCodec:
    """Builder of requests for `model`, and reader of the answers of the servers at `url`.

    Reading raises `ServingError` for an answer that no alphaloop server gives.
    """

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model, self._messages = url, model, protobuf_messages()

    def forecast(
        self, symbols: Sequence[str], as_of: datetime, route_key: str, min_generation: int
    ) -> tuple[Any, tuple[str, ...], datetime]:
        """Build the request for `symbols` at the bar that closed at `as_of`.

        Returns the message, and the symbols and the UTC time that `read_forecast` needs.
        """
        asked, at = tuple(symbols), as_utc(as_of)
        request = self._request(SYMBOLS, BYTES, (len(asked),), encode_bytes(asked))
        request.parameters["as_of"].string_param = at.isoformat()
        request.parameters["route_key"].string_param = route_key
        request.parameters["min_generation"].int64_param = min_generation
        return request, asked, at

    def infer(self, panel: Panel, version: str) -> Any:
        """Build the request for the scores of `panel` float32 `[symbols, lookback, features]`."""
        content = np.ascontiguousarray(panel, "<f4")
        return self._request(PANEL, FLOAT, panel.shape, content.tobytes(), version)

    def live(self) -> Any:
        """Build the request that asks for a server's liveness."""
        return self._messages.ServerLiveRequest()

    def ready(self) -> Any:
        """Build the request that asks for the model's readiness."""
        return self._messages.ModelReadyRequest(name=self._model)

    def read_forecast(self, message: Any, symbols: tuple[str, ...], as_of: datetime) -> Forecast:
        """Read the answer to a `forecast` request."""
        try:
            values = {name: _value(parameter) for name, parameter in message.parameters.items()}
            contents = _contents(message)
            when = values["feature_timestamp"]
            return Forecast(
                prediction_id=values["prediction_id"],
                as_of=as_of,
                feature_timestamp=datetime.fromisoformat(when) if when else as_of,
                symbols=symbols,
                scores=tuple(np.frombuffer(contents[SCORES], "<f4").tolist()),
                statuses=tuple(map(SymbolStatus, _decode_bytes(contents[STATUSES]))),
                model=message.model_name,
                version=values["version"],
                digest=values["digest"],
                route=Route(values["route"]),
                input_hash=values["input_hash"],
                feature_set=values["feature_set"],
                snapshot=values["snapshot"],
                generation=int(values["generation"]),
            )
        except (KeyError, ValueError) as error:
            raise self._stranger(error) from error

    def read_scores(self, message: Any) -> Scores:
        """Read the answer to an `infer` request, float32 `[symbols]`."""
        try:
            return np.frombuffer(_contents(message)[SCORES], "<f4").copy()
        except (KeyError, ValueError) as error:
            raise self._stranger(error) from error

    def _request(
        self, name: str, datatype: str, shape: Sequence[int], content: bytes, version: str = ""
    ) -> Any:
        request = self._messages.ModelInferRequest(model_name=self._model, model_version=version)
        request.inputs.add(name=name, datatype=datatype).shape.extend(shape)
        request.raw_input_contents.append(content)
        return request

    def _stranger(self, error: Exception) -> ServingError:
        return ServingError(f"{self._url} is not an alphaloop server: its answer lacks {error}")


def is_affirmative(answer: Any) -> bool:
    """Return whether an answer to `live` or `ready` is affirmative."""
    return bool(getattr(answer, "live", False) or getattr(answer, "ready", False))


def _contents(message: Any) -> dict[str, bytes]:
    """Return the raw contents of an answer's tensors by name."""
    names = (tensor.name for tensor in message.outputs)
    return dict(zip(names, message.raw_output_contents, strict=True))


def _decode_bytes(content: bytes) -> list[str]:
    texts, position = [], 0
    while position < len(content):
        end = position + 4 + int.from_bytes(content[position : position + 4], "little")
        texts.append(content[position + 4 : end].decode())
        position = end
    return texts


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind else None
