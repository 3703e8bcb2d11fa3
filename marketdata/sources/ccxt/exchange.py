"""One connection to an exchange: opened, retried, errors translated, credentials hidden."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from alphaloop.clock import Clock
from alphaloop.errors import AlphaloopError, DataError, MissingPartError, UnknownNameError, VendorError
from alphaloop.runtime.credentials import Secret, read_optional_secret, redact_secrets
from marketdata.connectors.rate_limit import parse_retry_after
from marketdata.connectors.retry import RetryPolicy

Answer = TypeVar("Answer")

# Other kinds of markets are separate exchanges in ccxt (binanceusdm, krakenfutures).
SPOT_ONLY = {"binance": {"options": {"fetchMarkets": {"types": ["spot"]}}}}
# In ccxt a subscription message costs as much as a REST request; Kraken's REST allows one a second.
SUBSCRIPTION_COST = {"kraken": {"options": {"ws": {"cost": 0.05}}}}
CREDENTIALS = {"apiKey": "API_KEY", "secret": "SECRET", "password": "PASSWORD", "uid": "UID"}
# Errors that ccxt raises when it parses a malformed answer.
MALFORMED_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def ccxt_module() -> Any:
    """Return the module `ccxt`; `MissingPartError` if it is not installed."""
    try:
        return importlib.import_module("ccxt")
    except ModuleNotFoundError as error:
        raise MissingPartError("ccxt is not installed; install alphaloop[venues]") from error


def credentials_of(exchange: str) -> dict[str, Secret]:
    """Return the credentials in the environment, by their name in ccxt.

    Market data mostly needs none. `BINANCE_API_KEY`, `BINANCE_SECRET`, `BINANCE_PASSWORD`, `BINANCE_UID`,
    each also with `_FILE`.
    """
    credentials = {
        key: read_optional_secret(f"{exchange.upper()}_{name}") for key, name in CREDENTIALS.items()
    }
    return {key: secret for key, secret in credentials.items() if secret is not None}


@dataclass(frozen=True)
class ConnectionParameters:
    """Parameters of a connection; `configuration` overrides our defaults in ccxt's constructor."""

    exchange: str
    provider: str
    clock: Clock
    retry: RetryPolicy
    configuration: Mapping[str, Any]


class ExchangeConnection:
    """An open exchange: `async with Connection(opening) as connection`.

    `markets` are those of an earlier connection, so that they are not requested again.
    """

    def __init__(self, opening: ConnectionParameters, markets: Mapping[str, Any] | None = None) -> None:
        ccxt = ccxt_module()
        self.provider = opening.provider
        self.clock = opening.clock
        self._markets = markets
        self._secrets = credentials_of(opening.exchange)
        self.api = self._open(opening)
        self._retry = replace(opening.retry, on=(ccxt.OperationFailed,), retry_after=self._retry_after)

    async def __aenter__(self) -> ExchangeConnection:
        if self._markets is not None:
            self.api.set_markets(list(self._markets.values()))
        return self

    async def __aexit__(self, *exception: object) -> None:
        # A request still in flight in ccxt (a book's snapshot) would open a new session and leave it open.
        self.api.open = _refuse_to_open
        await self.api.close()

    async def markets(self) -> Mapping[str, Any]:
        """Return the markets by symbol. Raises as `call`."""
        loaded: Mapping[str, Any] = await self.call("its markets", self.api.load_markets)
        return loaded

    async def call(
        self, what: str, method: Callable[..., Awaitable[Answer]], *arguments: Any, **options: Any
    ) -> Answer:
        """Call a method of `api` with retries, and return its answer.

        Raises `GaveUpError` after the last retry, `VendorError` for a refusal, `DataError` for a malformed
        answer.
        """

        async def attempt() -> Answer:
            try:
                return await method(*arguments, **options)
            except ccxt_module().BadResponse as error:
                self.fail(what, error)
            except ccxt_module().OperationFailed as error:
                clean = self.clean(error)
                raise clean from clean.__cause__

        try:
            return await self._retry.acall(attempt, f"{self.provider}: {what}")
        except (ccxt_module().BaseError, *MALFORMED_ERRORS) as error:
            self.fail(what, error)

    def clean(self, error: BaseException) -> BaseException:
        """Return `error` without this connection's credentials in its texts."""
        return redact_secrets(error, self._secrets.values())

    def fail(self, what: str, error: Exception) -> NoReturn:
        """Raise `error` as one of ours, with its cause chained and no credential in it."""
        clean = self.clean(error)
        raise translate_ccxt_error(self.provider, what, clean) from clean

    def _open(self, opening: ConnectionParameters) -> Any:
        ccxt = ccxt_module()
        live = importlib.import_module("ccxt.pro")
        rest = importlib.import_module("ccxt.async_support")
        name = opening.exchange
        if name not in ccxt.exchanges:
            raise UnknownNameError("exchange", name, ccxt.exchanges, where="ccxt")
        settings: dict[str, Any] = {"enableRateLimit": True, "newUpdates": False}
        for more in (SPOT_ONLY.get(name, {}), SUBSCRIPTION_COST.get(name, {}), opening.configuration):
            settings = ccxt.Exchange.deep_extend(settings, more)
        api = getattr(live if name in live.exchanges else rest, name)(
            settings | {key: secret.reveal() for key, secret in self._secrets.items()}
        )
        # ccxt logs whole requests at DEBUG, with the key among the headers: its logger is silenced.
        api.logger = logging.Logger("ccxt", logging.CRITICAL)
        api.logger.addHandler(logging.NullHandler())
        self._parse_candle, api.parse_ohlcv = api.parse_ohlcv, self._candle
        # A stream reads the whole cache at each update, so the cache is kept to a few candles a symbol.
        api.options["OHLCVLimit"] = 20
        return api

    def _candle(self, row: Any, market: Any = None) -> Any:
        """Parse as ccxt does, but refuse a candle without a time, which ccxt would drop silently."""
        parsed = self._parse_candle(row, market)
        if parsed[0] is None:
            raise ccxt_module().BadResponse(f"{str(row)[:120]} is no candle")
        return parsed

    def _retry_after(self, error: BaseException) -> float | None:
        """Return the seconds of the last Retry-After header; a request that timed out had none."""
        headers = {name.lower(): value for name, value in (self.api.last_response_headers or {}).items()}
        if isinstance(error, ccxt_module().RequestTimeout):
            return None
        return parse_retry_after(str(headers.get("retry-after", "")), self.clock)


def _refuse_to_open() -> NoReturn:
    raise ccxt_module().ExchangeClosedByUser("the connection was closed")


def translate_ccxt_error(provider: str, what: str, error: BaseException) -> AlphaloopError:
    """Translate an error of ccxt, or of its parsing, to one of ours."""
    ccxt = ccxt_module()
    text = f"{provider}: {what}: {type(error).__name__}: {error}"
    if isinstance(error, AlphaloopError):
        return error
    if isinstance(error, ccxt.NotSupported):
        return DataError(text)
    if isinstance(error, (ccxt.BadResponse, *MALFORMED_ERRORS)):
        return DataError(f"{text[:400]}; the answer is malformed")
    if isinstance(error, ccxt.AuthenticationError | ccxt.PermissionDenied):
        return VendorError(f"{text}; check the credentials in the environment")
    return VendorError(text)
