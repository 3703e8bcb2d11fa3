"""Blocking client: forecasts over the Open Inference Protocol, from one server or several replicas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from alphaloop.forecasts import Forecast, RoutedForecasts
from alphaloop.settings.settings import Settings
from serving.client.codec import RequestCodec, is_affirmative
from serving.client.drivers import run_steps
from serving.client.replica import ClientSecurity, Replica
from serving.client.retry_policy import ReplicaPool, RetrySettings
from serving.client.settings import ConnectionSettings
from serving.client.tls_diagnosis import require_tls_agreement
from serving.protocol.messages import Panel, Scores

DEFAULT_DEADLINE_MS = 2_000.0


class PredictionClient:
    """Blocking client for forecasts from one server or several replicas.

    Requests go to the servers in turn. A server that fails gets no requests for a while, and its request is
    repeated on another, within the limits of `retries`. Threads may share a client.

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
        If `url` is empty or has an empty part.
    SettingsError
        If a file of `security` cannot be used.
    ServingError
        From every method, for any failure; names the url and repeats the server's message. `TlsError` (a
        subclass) where a server and the client do not agree on TLS.

    Examples
    --------
    >>> client = PredictionClient("127.0.0.1:8001", "momentum")
    >>> client.url
    '127.0.0.1:8001'
    >>> client.close()
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
        self._security = security or ClientSecurity()
        self._pool = ReplicaPool.from_urls(url, self._security, retries or RetrySettings())
        self.url, self.model = self._pool.url, model
        self._codec, self._deadline_ms = RequestCodec(self.url, model), deadline_ms

    @classmethod
    def from_settings(cls, settings: Settings, model: str = "") -> PredictionClient:
        """Build a client from the settings, for `model` or the model that they name.

        Raises
        ------
        SettingsError
            If the client section lacks TLS files or a token that the server section demands.
        """
        connection = ConnectionSettings.from_settings(settings)
        return cls(connection.urls, model or settings.serving.model, **connection.options())

    def forecast(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_key: str = "",
        min_generation: int = 0,
        deadline_ms: float | None = None,
    ) -> Forecast:
        """Request the forecast of `symbols` at one bar.

        The server reads the features of exactly that bar from its online store.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to forecast.
        as_of : datetime
            Close of the bar, with a time zone.
        route_key : str
            Sleeve of capital that the forecast is for; decides between champion and canary.
        min_generation : int
            Oldest generation of the rollout document that may route the request.
        deadline_ms : float, optional
            Milliseconds that this request may take.

        Returns
        -------
        Forecast
            One score and one status a symbol, with the lineage of the version that answered.

        Raises
        ------
        ServingError
            If no server answered in time, or the server refused; its message is repeated.
        TlsError
            If a server that can be reached does not agree with the client on TLS.
        ValueError
            If `deadline_ms` is not positive.
        """
        request, asked, at = self._codec.forecast(symbols, as_of, route_key, min_generation)
        return self._codec.read_forecast(self._ask(request, deadline_ms), asked, at)

    def forecasts(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        route_keys: Sequence[str],
        min_generation: int = 0,
        deadline_ms: float | None = None,
    ) -> RoutedForecasts:
        """Request the forecasts of `symbols` at one bar for all sleeves of capital, in one request.

        The server runs each version that the sleeves lead to once.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to forecast.
        as_of : datetime
            Close of the bar, with a time zone.
        route_keys : sequence of str
            Sleeves of capital, each once; each decides for itself between champion and canary.
        min_generation : int
            Oldest generation of the rollout document that may route the request.
        deadline_ms : float, optional
            Milliseconds that this request may take.

        Returns
        -------
        RoutedForecasts
            Forecast of each sleeve, or the reason why its version has none.

        Raises
        ------
        ServingError
            If no server answered in time, no sleeve could be answered, or the server refused, as it does for
            no route key or too many; its message is repeated.
        TlsError, ValueError
            As in `forecast`.
        """
        request, asked, at = self._codec.forecasts(symbols, as_of, route_keys, min_generation)
        return self._codec.read_forecasts(self._ask(request, deadline_ms), asked, at)

    def infer(self, panel: Panel, version: str = "", deadline_ms: float | None = None) -> Scores:
        """Request the scores of a panel of features.

        Parameters
        ----------
        panel : ndarray of float32, shape [symbols, lookback, features]
            Feature windows; NaN marks a missing value.
        version : str
            Version to score with; empty leaves the choice to the server's router.
        deadline_ms : float, optional
            Milliseconds that this request may take.

        Returns
        -------
        ndarray of float32, shape [symbols]
            Scores, NaN for a symbol with missing values.

        Raises
        ------
        ServingError, TlsError, ValueError
            As in `forecast`.
        """
        return self._codec.read_scores(self._ask(self._codec.infer(panel, version), deadline_ms))

    def live(self) -> bool:
        """Return whether any server answers at all.

        Raises
        ------
        TlsError
            If none answers, and one that can be reached does not agree with the client on TLS.
        """
        return self._ask_any("ServerLive", self._codec.live())

    def ready(self) -> bool:
        """Return whether any server can answer for this model. Raises as `live` does."""
        return self._ask_any("ModelReady", self._codec.ready())

    def close(self) -> None:
        """Close the connections; later requests raise `ServingError`."""
        self._pool.close()
        for server in self._pool.servers:
            server.close()

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Any, deadline_ms: float | None) -> Any:
        deadline = self._deadline_ms if deadline_ms is None else deadline_ms
        return run_steps(self._pool.steps(deadline), request)

    def _ask_any(self, method: str, request: Any) -> bool:
        self._pool.require_open()
        failures = []
        for server in self._pool.servers:
            answer, error = self._ask_one(server, method, request)
            if is_affirmative(answer):
                return True
            failures.append((server.url, error))
        # An unreachable server means "no"; a TLS mismatch is a fault that the caller must hear of.
        require_tls_agreement(self._security, failures)
        return False

    def _ask_one(self, server: Replica, method: str, request: Any) -> tuple[Any, Any]:
        """Return the answer of one server, or its `grpc.RpcError`."""
        import grpc

        try:
            return server.call(method, request, self._deadline_ms / 1e3), None
        except grpc.RpcError as error:
            return None, error
