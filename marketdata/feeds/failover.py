"""Failover: an ordered list of providers as one source."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from datetime import datetime
from threading import Thread
from typing import TypeVar

import pyarrow as pa

from alphaloop.bars import PROVIDER_COLUMN, Bar
from alphaloop.clock import Clock, SystemClock, as_utc
from alphaloop.errors import AlphaloopError, InputError, VendorError
from alphaloop.runtime.circuit_breaker import CircuitBreaker
from marketdata.connectors.retry import GaveUpError
from marketdata.feeds.arbitration import ProviderSwitch
from marketdata.feeds.failover_policy import MIN_LONG_HISTORY, FailoverPolicy
from marketdata.feeds.freshness import FeedStatus
from marketdata.feeds.merged_stream import MergedStream
from marketdata.source import CalendarName, LiveSource, identity_of

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


def identity_of_providers(identities: Sequence[str]) -> str:
    """Return the identity of a feed from those of its providers."""
    return "providers:" + ",".join(identities)


def ignore_switch(switch: ProviderSwitch) -> None:
    """Ignore a switch: the `on_switch` of a caller that reads `switches` instead."""


class FailoverSource:
    """Several providers behind the interface of one live source.

    Every bar carries the name of its provider. `switches` are all changes of the active provider, `counts`
    the number of other events by name.

    Parameters
    ----------
    providers
        Live sources, the preferred first.
    policy
        Waiting times, consensus and retries; defaults apply if None.
    name
        Name of the source, for messages.
    clock
        Clock; the system's if None.
    breakers
        Circuit breakers by provider, to share them; each provider without one gets its own.
    on_switch
        Called with each change of the active provider.

    Raises
    ------
    InputError
        For no provider, two with one name, or different calendars.
    """

    def __init__(
        self,
        providers: Sequence[LiveSource],
        policy: FailoverPolicy | None = None,
        *,
        name: str = "failover",
        clock: Clock | None = None,
        breakers: Mapping[str, CircuitBreaker] | None = None,
        on_switch: Callable[[ProviderSwitch], None] = ignore_switch,
    ) -> None:
        names = [provider.name for provider in providers]
        if not names or len(set(names)) < len(names):
            raise InputError(f"a failover needs providers with different names; it was given {names}")
        if len({provider.calendar for provider in providers}) > 1:
            listed = ", ".join(f"{provider.name} {provider.calendar}" for provider in providers)
            raise InputError(f"the providers of '{name}' follow different calendars: {listed}")
        self.name = name
        self.switches: list[ProviderSwitch] = []
        self.counts: Counter[str] = Counter()
        self._providers, self._policy = tuple(providers), policy or FailoverPolicy()
        self._clock = clock or SystemClock()
        self._breakers = {provider_name: CircuitBreaker() for provider_name in names} | dict(breakers or {})
        self._on_switch = on_switch
        self._relay: MergedStream | None = None

    @property
    def identity(self) -> str:
        """Identity from the providers in their order: they determine the bars, the name does not."""
        return identity_of_providers([identity_of(provider) for provider in self._providers])

    @property
    def description(self) -> str:
        """The providers, in their order."""
        return "bars of " + ", else of ".join(provider.name for provider in self._providers)

    @property
    def calendar(self) -> CalendarName:
        """The calendar that all providers follow."""
        return self._providers[0].calendar

    @property
    def adjusted_only(self) -> bool:
        """True if any provider has adjusted prices only: any of them may price an order."""
        return any(provider.adjusted_only for provider in self._providers)

    @property
    def active(self) -> str:
        """Name of the provider in use."""
        return self._relay.active if self._relay else self._providers[0].name

    @property
    def stale(self) -> bool:
        """True if every provider of the running stream has been silent for too long."""
        return self._relay is not None and self._relay.stale

    def readings(self) -> list[FeedStatus]:
        """Return lag, silence and refused bars of each provider of the running stream."""
        return self._relay.readings() if self._relay else []

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the first provider that can list them, sorted; `GaveUpError` if none can."""
        return self._first("symbols", lambda provider: provider.symbols())[1]

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return bars of the first provider that answers in time, with the column `provider`.

        A provider's failures are retried according to the policy, and counted by its breaker. A symbol or
        frequency that a provider lacks is requested from the next. Raises the first provider's error if none
        has it, `GaveUpError` if none answers.
        """
        name, table = self._first(
            f"history of {', '.join(symbols) or 'all symbols'}",
            lambda provider: provider.history(symbols, start, end, frequency),
            seconds=self._seconds_for(start),
        )
        if PROVIDER_COLUMN in table.schema.names:
            return table
        return table.append_column(PROVIDER_COLUMN, pa.array([name] * table.num_rows, pa.string()))

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncGenerator[Bar, None]:
        """Yield closed bars as `LiveSource.stream` defines them, from any of the providers.

        All providers' streams run at once, and each bar is decided between them by
        `marketdata.feeds.arbitration`; bars missing from every stream are filled in from `history`. Raises
        `VendorError` once every provider has failed repeatedly with nothing in between.
        """
        relay = MergedStream(
            self._providers,
            tuple(symbols) or self.symbols(),
            frequency,
            policy=self._policy,
            breakers=self._breakers,
            clock=self._clock,
            history=self.history,
            counts=self.counts,
            on_switch=self._switched,
        )
        self._relay = relay
        async with aclosing(relay.bars()) as bars:
            async for bar in bars:
                yield bar

    def _switched(self, switch: ProviderSwitch) -> None:
        self.switches.append(switch)
        self.counts["switches"] += 1
        log.warning(
            "%s: switched from %s to %s at the bar of %s: %s",
            self.name,
            switch.left,
            switch.taken,
            switch.at.isoformat(),
            switch.reason,
        )
        self._on_switch(switch)

    def _seconds_for(self, start: datetime | None) -> float:
        """Return the time limit of a history from `start` on, in seconds."""
        short = self._policy.retry.deadline
        long = start is None or self._clock.now() - as_utc(start) >= MIN_LONG_HISTORY
        return max(short, self._policy.long_history_seconds) if long else short

    def _first(
        self, what: str, ask: Callable[[LiveSource], Answer], seconds: float | None = None
    ) -> tuple[str, Answer]:
        """Return the first answer of a provider within `seconds`, and the provider's name."""
        failed: dict[str, AlphaloopError] = {}
        for provider in self._providers:
            name, breaker = provider.name, self._breakers[provider.name]
            if not breaker.allows():
                failed[name] = VendorError(f"{name} is left alone: its circuit breaker is {breaker.state}")
                continue
            try:
                answer = self._in_time(provider, what, ask, seconds or self._policy.retry.deadline)
            except InputError as error:
                # A refusal is an answer, not a failure of the provider.
                breaker.succeeded()
                failed[name] = error
            except VendorError as error:
                breaker.failed()
                failed[name] = error
                log.warning("%s: %s gave no %s: %s", self.name, name, what, error)
            else:
                breaker.succeeded()
                return name, answer
        first, *others = failed.values()
        if all(isinstance(error, InputError) for error in failed.values()):
            for other in others:
                log.warning("%s: none of the others gave %s: %s", self.name, what, other)
            raise first
        reasons = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise GaveUpError(f"no provider of '{self.name}' gave {what}: {reasons}") from first

    def _in_time(
        self, provider: LiveSource, what: str, ask: Callable[[LiveSource], Answer], seconds: float
    ) -> Answer:
        """Call the provider with retries; give up an answer after `seconds`."""
        retry, future = self._policy.retry, Future[Answer]()

        def work() -> None:
            try:
                future.set_result(retry.call(lambda: ask(provider), f"{provider.name}: {what}"))
            except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
                future.set_exception(error)

        # A vendor's blocking call cannot be stopped; a daemon thread does not hold up the exit.
        Thread(target=work, name=f"{self.name}-{provider.name}", daemon=True).start()
        try:
            return future.result(timeout=seconds)
        except TimeoutError as error:
            raise GaveUpError(f"{provider.name}: no {what} within {seconds:g} s") from error
