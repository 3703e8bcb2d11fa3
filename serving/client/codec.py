"""Requests of the client as protocol messages, and readers of the answers.

The messages are those of `tritonclient`; any other client of the protocol gets the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np

from alphaloop.clock import as_utc
from alphaloop.errors import ServingError
from alphaloop.forecasts import Forecast, Route, RoutedForecasts, SymbolStatus
from serving.protocol.messages import (
    ANSWER,
    BYTES,
    ERROR,
    FLOAT,
    LINEAGE,
    PANEL,
    ROUTE_KEY,
    SCORES,
    STATUSES,
    SYMBOLS,
    Panel,
    Scores,
    protobuf_messages,
)
from serving.protocol.tensors import MAX_CACHED_BYTES, encode_bytes, split_bytes


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
        request, asked, at = self._bar_request(symbols, as_of, min_generation)
        request.parameters[ROUTE_KEY].string_param = route_key
        return request, asked, at

    def forecasts(
        self, symbols: Sequence[str], as_of: datetime, route_keys: Sequence[str], min_generation: int
    ) -> tuple[Any, tuple[str, ...], datetime]:
        """Build the request for `symbols` at one bar, for all `route_keys` at once.

        Returns the message, and the symbols and the UTC time that `read_forecasts` needs.
        """
        request, asked, at = self._bar_request(symbols, as_of, min_generation)
        request.inputs.add(name=ROUTE_KEY, datatype=BYTES).shape.append(len(route_keys))
        request.raw_input_contents.append(encode_bytes(route_keys))
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
            contents = _contents(message)
            lineage = {name: _value(parameter) for name, parameter in message.parameters.items()}
            statuses = _statuses(contents[STATUSES])
            return _forecast(message, symbols, as_of, contents[SCORES], statuses, lineage)
        except (KeyError, ValueError) as error:
            raise self._stranger(error) from error

    def read_forecasts(self, message: Any, symbols: tuple[str, ...], as_of: datetime) -> RoutedForecasts:
        """Read the answer to a `forecasts` request."""
        try:
            contents = _contents(message)
            generation = message.parameters["generation"].int64_param
            columns = {name: _texts(contents[name]) for name in LINEAGE}
            answer_of = np.frombuffer(contents[ANSWER], "<i8").tolist()
            scores, statuses = contents[SCORES], _statuses(contents[STATUSES])
            count, width = len(symbols), 4 * len(symbols)
            answers = [
                _forecast(
                    message,
                    symbols,
                    as_of,
                    scores[index * width : (index + 1) * width],
                    statuses[index * count : (index + 1) * count],
                    {name: column[index] for name, column in columns.items()} | {"generation": generation},
                )
                for index in range(len(columns["version"]))
            ]
            keys, errors = _texts(contents[ROUTE_KEY]), _texts(contents[ERROR])
            routed = list(zip(keys, answer_of, errors, strict=True))
            return RoutedForecasts(
                {key: answers[index] for key, index, _ in routed if index >= 0},
                {key: error for key, index, error in routed if index < 0},
            )
        except (IndexError, KeyError, ValueError) as error:
            raise self._stranger(error) from error

    def read_scores(self, message: Any) -> Scores:
        """Read the answer to an `infer` request, float32 `[symbols]`."""
        try:
            return np.frombuffer(_contents(message)[SCORES], "<f4").copy()
        except (KeyError, ValueError) as error:
            raise self._stranger(error) from error

    def _bar_request(
        self, symbols: Sequence[str], as_of: datetime, min_generation: int
    ) -> tuple[Any, tuple[str, ...], datetime]:
        asked, at = tuple(symbols), as_utc(as_of)
        request = self._request(SYMBOLS, BYTES, (len(asked),), encode_bytes(asked))
        request.parameters["as_of"].string_param = at.isoformat()
        request.parameters["min_generation"].int64_param = min_generation
        return request, asked, at

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


def _forecast(
    message: Any,
    symbols: tuple[str, ...],
    as_of: datetime,
    scores: bytes,
    statuses: tuple[SymbolStatus, ...],
    lineage: Mapping[str, Any],
) -> Forecast:
    when = lineage["feature_timestamp"]
    return Forecast(
        prediction_id=lineage["prediction_id"],
        as_of=as_of,
        feature_timestamp=datetime.fromisoformat(when) if when else as_of,
        symbols=symbols,
        scores=tuple(np.frombuffer(scores, "<f4").tolist()),
        statuses=statuses,
        model=message.model_name,
        version=lineage["version"],
        digest=lineage["digest"],
        route=Route(lineage["route"]),
        input_hash=lineage["input_hash"],
        feature_set=lineage["feature_set"],
        snapshot=lineage["snapshot"],
        generation=int(lineage["generation"]),
    )


def _statuses(content: bytes) -> tuple[SymbolStatus, ...]:
    decode = _decode_same_statuses if len(content) <= MAX_CACHED_BYTES else _decode_statuses
    return decode(content)


def _decode_statuses(content: bytes) -> tuple[SymbolStatus, ...]:
    return tuple(SymbolStatus(status.decode()) for status in split_bytes(content))


# Answers repeat their statuses nearly always.
_decode_same_statuses = lru_cache(maxsize=64)(_decode_statuses)


def _texts(content: bytes) -> list[str]:
    return [element.decode() for element in split_bytes(content)]


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind else None
