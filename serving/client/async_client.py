"""Asyncio client: the methods of `PredictionClient` as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from alphaloop.errors import InputError
from alphaloop.forecasts import Forecast, RoutedForecasts
from alphaloop.settings.settings import Settings
from serving.client.client import DEFAULT_DEADLINE_MS
from serving.client.codec import RequestCodec, is_affirmative
from serving.client.drivers import await_call, run_steps_async
from serving.client.replica import ClientSecurity
from serving.client.retry_policy import ReplicaPool, RetrySettings
from serving.client.settings import ConnectionSettings
from serving.client.tls_diagnosis import require_tls_agreement
from serving.protocol.messages import Panel, Scores


class AsyncPredictionClient:
    """Asyncio counterpart of `PredictionClient`: same methods, results and errors.

    A client belongs to the event loop in which it is made, and a process should use one loop: gRPC logs
    spurious errors with several (github.com/grpc/grpc/issues/25364). Tasks may share a client. Cancelling a
    task cancels its requests.

    Parameters
    ----------
    url : str or sequence of str
        `host:port` of each server; in one text, separated by commas.
    model : str
        Name of the registered model that the requests are for.
    security : ClientSecurity, optional
        TLS files and access token; clear text without a token by default.
    retries : RetrySettings, optional
        Retries and hedged requests.
    deadline_ms : float
        Milliseconds that a request may take where the call names no deadline of its own.

    Raises
    ------
    InputError
        If no event loop runs, or `url` is empty or has an empty part.
    SettingsError
        If a file of `security` cannot be used.
    ServingError
        From every method, for any failure; names the url and repeats the server's message. `TlsError` (a
        subclass) where a server and the client do not agree on TLS.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        security: ClientSecurity | None = None,
        retries: RetrySettings | None = None,
        deadline_ms: float = DEFAULT_DEADLINE_MS,
    ) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise InputError(
                "no event loop runs here; make an AsyncPredictionClient in a coroutine, or a PredictionClient"
            ) from None
        self._security = security or ClientSecurity()
        self._pool = ReplicaPool.from_urls(url, self._security, retries or RetrySettings(), asynchronous=True)
        self.url, self.model = self._pool.url, model
        self._codec, self._deadline_ms = RequestCodec(self.url, model), deadline_ms

    @classmethod
    def from_settings(cls, settings: Settings, model: str = "") -> AsyncPredictionClient:
        """Build a client from the settings, for `model` or the model that they name.

        Raises
        ------
        SettingsError
            If the client section lacks TLS files or a token that the server section demands.
        """
        connection = ConnectionSettings.from_settings(settings)
        return cls(connection.urls, model or settings.serving.model, **connection.options())

    async def forecast(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_key: str = "",
        min_generation: int = 0,
        deadline_ms: float | None = None,
    ) -> Forecast:
        """Request the forecast of `symbols`, as `PredictionClient.forecast` does."""
        request, asked, at = self._codec.forecast(symbols, as_of, route_key, min_generation)
        return self._codec.read_forecast(await self._ask(request, deadline_ms), asked, at)

    async def forecasts(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_keys: Sequence[str],
        min_generation: int = 0,
        deadline_ms: float | None = None,
    ) -> RoutedForecasts:
        """Request the forecasts of `symbols` for all `route_keys`, as `PredictionClient.forecasts` does."""
        request, asked, at = self._codec.forecasts(symbols, as_of, route_keys, min_generation)
        return self._codec.read_forecasts(await self._ask(request, deadline_ms), asked, at)

    async def infer(self, panel: Panel, version: str = "", deadline_ms: float | None = None) -> Scores:
        """Request the scores of `panel`, as `PredictionClient.infer` does."""
        request = self._codec.infer(panel, version)
        return self._codec.read_scores(await self._ask(request, deadline_ms))

    async def live(self) -> bool:
        """Return whether any server answers, as `PredictionClient.live` does."""
        return await self._ask_any("ServerLive", self._codec.live())

    async def ready(self) -> bool:
        """Return whether any server can answer for the model, as `PredictionClient.ready` does."""
        return await self._ask_any("ModelReady", self._codec.ready())

    async def close(self) -> None:
        """Close the connections; later requests raise `ServingError`."""
        self._pool.close()
        for server in self._pool.servers:
            await server.close()

    async def __aenter__(self) -> AsyncPredictionClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, request: Any, deadline_ms: float | None) -> Any:
        deadline = self._deadline_ms if deadline_ms is None else deadline_ms
        return await run_steps_async(self._pool.steps(deadline), request)

    async def _ask_any(self, method: str, request: Any) -> bool:
        self._pool.require_open()
        failures = []
        for server in self._pool.servers:
            answer, error = await await_call(server.start_call(method, request, self._deadline_ms / 1e3))
            if is_affirmative(answer):
                return True
            failures.append((server.url, error))
        # An unreachable server means "no"; a TLS mismatch is a fault that the caller must hear of.
        await asyncio.to_thread(require_tls_agreement, self._security, failures)
        return False
