"""The client: forecasts over the Open Inference Protocol, from one server or several replicas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from alphaloop.forecasts import Forecast
from alphaloop.settings.settings import Settings
from serving.client.codec import Questions, says_yes
from serving.client.drivers import answer
from serving.client.replica import Security, Server
from serving.client.retry_policy import Asking, Patience
from serving.client.settings import Connection
from serving.client.tls_diagnosis import require_agreement
from serving.protocol.messages import Panel, Scores

DEADLINE_MS = 2_000.0


class PredictionClient:
    """Asks the servers at `url` (`host:port`, several separated by commas or in a sequence) for forecasts.

    `model` is the one that is asked for. Servers are asked in turn; one that fails is left alone for a
    while, and what it did not answer is asked of another, as `patience` says. `security` brings TLS and a
    token. A request has `deadline_ms` unless it says otherwise. Threads may share a client. Every failure
    is a `ServingError` that names the url and says what the server said.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        security: Security | None = None,
        patience: Patience | None = None,
        deadline_ms: float = DEADLINE_MS,
    ) -> None:
        self._security = security or Security()
        self._asking = Asking.at(url, self._security, patience or Patience())
        self.url, self.model = self._asking.url, model
        self._questions, self._deadline_ms = Questions(self.url, model), deadline_ms

    @classmethod
    def from_settings(cls, settings: Settings, model: str = "") -> PredictionClient:
        """The client of the settings, for `model` or theirs; raises `SettingsError` for what it lacks."""
        connection = Connection.from_settings(settings)
        return cls(connection.urls, model or settings.serving.model, **connection.options())

    def forecast(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_key: str = "",
        min_generation: int = 0,
        deadline_ms: float | None = None,
    ) -> Forecast:
        """The forecast of `symbols` at the bar that closed at `as_of`, for the sleeve `route_key`.

        The server answers from features of exactly that bar. `min_generation` is the oldest rollout
        document that may route the request.
        """
        request, asked, at = self._questions.forecast(symbols, as_of, route_key, min_generation)
        return self._questions.read_forecast(self._ask(request, deadline_ms), asked, at)

    def infer(self, panel: Panel, version: str = "", deadline_ms: float | None = None) -> Scores:
        """Scores float32 `[symbols]` of `panel` float32 `[symbols, lookback, features]`."""
        return self._questions.read_scores(self._ask(self._questions.infer(panel, version), deadline_ms))

    def live(self) -> bool:
        """Whether a server answers at all.

        Raises `TlsError` where none does and one is there with which the client does not agree on TLS.
        """
        return self._any("ServerLive", self._questions.live())

    def ready(self) -> bool:
        """Whether a server can answer for this model. Raises as `live` does."""
        return self._any("ModelReady", self._questions.ready())

    def close(self) -> None:
        """Close the connections; nothing can be asked afterwards."""
        self._asking.close()
        for server in self._asking.servers:
            server.close()

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Any, deadline_ms: float | None) -> Any:
        deadline = self._deadline_ms if deadline_ms is None else deadline_ms
        return answer(self._asking.steps(deadline), request)

    def _any(self, method: str, question: Any) -> bool:
        self._asking.require_open()
        failures = []
        for server in self._asking.servers:
            said, error = self._said(server, method, question)
            if says_yes(said):
                return True
            failures.append((server.url, error))
        # Not reachable is an answer to these questions; not to be understood is none.
        require_agreement(self._security, failures)
        return False

    def _said(self, server: Server, method: str, question: Any) -> tuple[Any, Any]:
        """The answer of one server, or its `grpc.RpcError`."""
        import grpc

        try:
            return server.ask(method, question, self._deadline_ms / 1e3), None
        except grpc.RpcError as error:
            return None, error
