"""The client: forecasts over the Open Inference Protocol, from one server or several replicas.

The messages are those of `tritonclient`; any other client of the protocol gets the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import numpy as np

from alphaloop.clock import as_utc
from alphaloop.errors import ServingError
from alphaloop.prediction import Forecast, Route, SymbolStatus
from serving.asking import Asking, Patience
from serving.protocol import BYTES, FLOAT, PANEL, SCORES, STATUSES, SYMBOLS, Panel, Scores, messages
from serving.transport import Security, Server

DEADLINE_MS = 2_000


class PredictionClient:
    """Asks the servers at `url` (`host:port`, several separated by commas or in a sequence) for forecasts.

    `model` is the one that is asked for. Servers are asked in turn; one that fails is left alone for a
    while, and what it did not answer is asked of another, as `patience` says. `security` brings TLS and a
    token. Threads may share a client. Every failure is a `ServingError` that names the url and says what
    the server said.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        security: Security | None = None,
        patience: Patience | None = None,
    ) -> None:
        urls = url.split(",") if isinstance(url, str) else list(url)
        self.url, self.model = ",".join(urls), model
        self._servers = tuple(Server(one.strip(), security or Security()) for one in urls)
        self._asking = Asking(self._servers, patience or Patience())
        self._messages = messages()

    def forecast(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_key: str = "",
        min_generation: int = 0,
        deadline_ms: float = DEADLINE_MS,
    ) -> Forecast:
        """The forecast of `symbols` at the bar that closed at `as_of`, for the sleeve `route_key`.

        The server answers from features of exactly that bar. `min_generation` is the oldest rollout
        document that may route the request.
        """
        request = self._request(SYMBOLS, BYTES, (len(symbols),), _join(symbols))
        request.parameters["as_of"].string_param = as_utc(as_of).isoformat()
        request.parameters["route_key"].string_param = route_key
        request.parameters["min_generation"].int64_param = min_generation
        return self._read(self._asking.ask(request, deadline_ms), tuple(symbols), as_utc(as_of))

    def infer(self, panel: Panel, version: str = "", deadline_ms: float = DEADLINE_MS) -> Scores:
        """Scores float32 `[symbols]` of `panel` float32 `[symbols, lookback, features]`."""
        content = np.ascontiguousarray(panel, "<f4")
        request = self._request(PANEL, FLOAT, panel.shape, content.tobytes(), version)
        return np.frombuffer(_contents(self._asking.ask(request, deadline_ms))[SCORES], "<f4").copy()

    def live(self) -> bool:
        """Whether a server answers at all."""
        return any(
            self._asked(server.stub.ServerLive, self._messages.ServerLiveRequest(), server)
            for server in self._servers
        )

    def ready(self) -> bool:
        """Whether a server can answer for this model."""
        question = self._messages.ModelReadyRequest(name=self.model)
        return any(self._asked(server.stub.ModelReady, question, server) for server in self._servers)

    def close(self) -> None:
        """Close the connections; nothing can be asked afterwards."""
        for server in self._servers:
            server.close()

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(
        self, name: str, datatype: str, shape: Sequence[int], content: bytes, version: str = ""
    ) -> Any:
        request = self._messages.ModelInferRequest(model_name=self.model, model_version=version)
        request.inputs.add(name=name, datatype=datatype).shape.extend(shape)
        request.raw_input_contents.append(content)
        return request

    def _asked(self, question: Any, request: Any, server: Server) -> bool:
        import grpc

        try:
            answer = question(request, timeout=DEADLINE_MS / 1_000, metadata=server.metadata)
        except grpc.RpcError:
            # Not reachable is an answer to these questions.
            return False
        return bool(getattr(answer, "live", False) or getattr(answer, "ready", False))

    def _read(self, message: Any, symbols: tuple[str, ...], as_of: datetime) -> Forecast:
        values = {name: _value(parameter) for name, parameter in message.parameters.items()}
        try:
            contents = _contents(message)
            when = values["feature_timestamp"]
            return Forecast(
                prediction_id=values["prediction_id"],
                as_of=as_of,
                feature_timestamp=datetime.fromisoformat(when) if when else as_of,
                symbols=symbols,
                scores=tuple(np.frombuffer(contents[SCORES], "<f4").tolist()),
                statuses=tuple(map(SymbolStatus, _split(contents[STATUSES]))),
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


def _contents(message: Any) -> dict[str, bytes]:
    """The raw contents of an answer's tensors, by name."""
    names = (tensor.name for tensor in message.outputs)
    return dict(zip(names, message.raw_output_contents, strict=True))


def _join(texts: Sequence[str]) -> bytes:
    """A BYTES tensor: each element is its length in 4 bytes, little endian, and then itself."""
    encoded = [text.encode() for text in texts]
    return b"".join(len(one).to_bytes(4, "little") + one for one in encoded)


def _split(content: bytes) -> list[str]:
    texts, position = [], 0
    while position < len(content):
        end = position + 4 + int.from_bytes(content[position : position + 4], "little")
        texts.append(content[position + 4 : end].decode())
        position = end
    return texts


def _value(parameter: Any) -> Any:
    return getattr(parameter, parameter.WhichOneof("parameter_choice"))
