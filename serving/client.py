"""The client: forecasts over an unmodified `tritonclient`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import numpy as np

from alphaloop.clock import as_utc
from alphaloop.errors import ServingError
from alphaloop.prediction import Forecast, Route, SymbolStatus
from serving.protocol import BYTES, FLOAT, PANEL, SCORES, STATUSES, SYMBOLS, Panel, Scores

DEADLINE_MS = 2_000


class PredictionClient:
    """Asks the server at `url` (`host:port`) for forecasts of `model`. One client a thread.

    Every failure is a `ServingError` that names the url and says what the server said.
    """

    def __init__(self, url: str, model: str) -> None:
        from tritonclient import grpc

        self.url, self.model = url, model
        self._grpc: Any = grpc
        self._client: Any = grpc.InferenceServerClient(url)

    def forecast(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_key: str = "",
        min_generation: int = 0,
        deadline_ms: int = DEADLINE_MS,
    ) -> Forecast:
        """The forecast of `symbols` at the bar that closed at `as_of`, for the sleeve `route_key`.

        The server answers from features of exactly that bar. `min_generation` is the oldest rollout
        document that may route the request.
        """
        tensor = self._grpc.InferInput(SYMBOLS, [len(symbols)], BYTES)
        tensor.set_data_from_numpy(np.array(symbols, dtype=np.object_))
        parameters: dict[str, str | int] = {
            "as_of": as_utc(as_of).isoformat(),
            "route_key": route_key,
            "min_generation": min_generation,
        }
        result = self._infer(tensor, parameters, deadline_ms)
        return self._read(result, tuple(symbols), as_utc(as_of))

    def infer(self, panel: Panel, version: str = "", deadline_ms: int = DEADLINE_MS) -> Scores:
        """Scores float32 `[symbols]` of `panel` float32 `[symbols, lookback, features]`."""
        tensor = self._grpc.InferInput(PANEL, list(panel.shape), FLOAT)
        tensor.set_data_from_numpy(np.ascontiguousarray(panel, np.float32))
        result = self._infer(tensor, None, deadline_ms, version)
        return np.asarray(result.as_numpy(SCORES), np.float32)

    def live(self) -> bool:
        """Whether the server answers at all."""
        return self._asked(self._client.is_server_live)

    def ready(self) -> bool:
        """Whether the server can answer for this model."""
        return self._asked(self._client.is_model_ready, self.model)

    def close(self) -> None:
        """Close the connection; nothing can be asked afterwards."""
        self._client.close()
        # Its finaliser closes once more, which fails after the interpreter has begun to end.
        self._client = None

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, question: Any, *arguments: str) -> bool:
        from tritonclient.utils import InferenceServerException

        try:
            return bool(question(*arguments, client_timeout=DEADLINE_MS / 1_000))
        except InferenceServerException:
            # Not reachable is an answer to these questions.
            return False

    def _infer(
        self, tensor: Any, parameters: dict[str, str | int] | None, deadline_ms: int, version: str = ""
    ) -> Any:
        from tritonclient.utils import InferenceServerException

        if deadline_ms <= 0:
            # tritonclient takes a timeout of 0 for none.
            raise ValueError(f"deadline_ms is {deadline_ms}; a request needs a positive time")
        try:
            return self._client.infer(
                self.model,
                [tensor],
                model_version=version,
                parameters=parameters,
                client_timeout=deadline_ms / 1_000,
            )
        except InferenceServerException as error:
            raise ServingError(
                f"{self.url} gave no prediction: {error.status()}: {error.message()}"
            ) from error

    def _read(self, result: Any, symbols: tuple[str, ...], as_of: datetime) -> Forecast:
        message = result.get_response()
        values = {name: _value(parameter) for name, parameter in message.parameters.items()}
        try:
            when = values["feature_timestamp"]
            return Forecast(
                prediction_id=values["prediction_id"],
                as_of=as_of,
                feature_timestamp=datetime.fromisoformat(when) if when else as_of,
                symbols=symbols,
                scores=tuple(result.as_numpy(SCORES).tolist()),
                statuses=tuple(SymbolStatus(one.decode()) for one in result.as_numpy(STATUSES)),
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
            raise ServingError(f"{self.url} is not an alphaloop server: its answer lacks {error}") from error


def _value(parameter: Any) -> Any:
    return getattr(parameter, parameter.WhichOneof("parameter_choice"))
