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

from alphaloop.bars import PROVIDER, Bar
from alphaloop.clock import Clock, SystemClock, as_utc
from alphaloop.errors import AlphaloopError, InputError, VendorError
from alphaloop.runtime.circuit_breaker import CircuitBreaker
from marketdata.connectors.retry import GaveUpError
from marketdata.feeds.arbitration import Switch
from marketdata.feeds.failover_policy import LONG_HISTORY, FailoverPolicy
from marketdata.feeds.freshness import Reading
from marketdata.feeds.merged_stream import Relay
from marketdata.source import CalendarName, LiveSource, identity_of

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


def identity_of_providers(identities: Sequence[str]) -> str:
    """The identity of a feed of providers, from theirs."""
    return "providers:" + ",".join(identities)


def unheard(switch: Switch) -> None:
    """The `on_switch` of a caller who reads `switches` instead."""


class FailoverSource:
    """`providers`, the preferred first, behind the interface of one live source.

    Every bar carries the name of the provider that it came from. `switches` are all changes of the
    active provider, `counts` what else happened, by word. `breakers` may be given by provider, to share
    them; each provider without one gets its own. `InputError` where there is no provider, two have the
    same name, or their calendars differ.
    """

    def __init__(
        self,
        providers: Sequence[LiveSource],
        policy: FailoverPolicy | None = None,
        *,
        name: str = "failover",
        clock: Clock | None = None,
        breakers: Mapping[str, CircuitBreaker] | None = None,
        on_switch: Callable[[Switch], None] = unheard,
    ) -> None:
        names = [provider.name for provider in providers]
        if not names or len(set(names)) < len(names):
            raise InputError(f"a failover needs providers with different names; it was given {names}")
        if len({provider.calendar for provider in providers}) > 1:
            told = ", ".join(f"{provider.name} {provider.calendar}" for provider in providers)
            raise InputError(f"the providers of '{name}' follow different calendars: {told}")
        self.name = name
        self.switches: list[Switch] = []
        self.counts: Counter[str] = Counter()
        self._providers, self._policy = tuple(providers), policy or FailoverPolicy()
        self._clock = clock or SystemClock()
        self._breakers = {one: CircuitBreaker() for one in names} | dict(breakers or {})
        self._on_switch = on_switch
        self._relay: Relay | None = None

    @property
    def identity(self) -> str:
        """The providers in their order: which bars it gives follows from them, and not from its name."""
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
        """Whether any provider has adjusted prices only: any of them may price an order."""
        return any(provider.adjusted_only for provider in self._providers)

    @property
    def active(self) -> str:
        """The provider whose bars are taken at present."""
        return self._relay.active if self._relay else self._providers[0].name

    @property
    def stale(self) -> bool:
        """Whether every provider of the running stream has been silent for too long."""
        return self._relay is not None and self._relay.stale

    def readings(self) -> list[Reading]:
        """How old what each provider of the running stream tells is, and how often its clock ran ahead."""
        return self._relay.readings() if self._relay else []

    def symbols(self) -> tuple[str, ...]:
        """The symbols of the first provider that can tell them, sorted."""
        return self._first("symbols", lambda provider: provider.symbols())[1]

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Bars of the first provider that gives them in time, with the column `provider`.

        A provider's failures are tried again as the policy says, and its breaker keeps count of them. A
        symbol or frequency that it lacks is asked of the next. Raises what the first provider raised if
        none has it, `GaveUpError` if none answers.
        """
        name, table = self._first(
            f"history of {', '.join(symbols) or 'all symbols'}",
            lambda provider: provider.history(symbols, start, end, frequency),
            seconds=self._seconds_for(start),
        )
        if PROVIDER in table.schema.names:
            return table
        return table.append_column(PROVIDER, pa.array([name] * table.num_rows, pa.string()))

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncGenerator[Bar, None]:
        """Closed bars as `LiveSource.stream` has them, whichever provider gives them.

        All providers' streams run at once, and each bar is settled between them as
        `marketdata.feeds.arbitration` says; what none of the streams told of is filled in from `history`.
        Raises `VendorError` once every provider has failed over and over with nothing in between.
        """
        relay = Relay(
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

    def _switched(self, switch: Switch) -> None:
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
        """How long a history from `start` on may take."""
        short = self._policy.retry.deadline
        long = start is None or self._clock.now() - as_utc(start) >= LONG_HISTORY
        return max(short, self._policy.long_history_seconds) if long else short

    def _first(
        self, what: str, ask: Callable[[LiveSource], Answer], seconds: float | None = None
    ) -> tuple[str, Answer]:
        """The answer of the first provider that gives one within `seconds`, and its name."""
        failed: dict[str, AlphaloopError] = {}
        for provider in self._providers:
            name, breaker = provider.name, self._breakers[provider.name]
            if not breaker.allows():
                failed[name] = VendorError(f"{name} is left alone: its circuit breaker is {breaker.state}")
                continue
            try:
                answer = self._in_time(provider, what, ask, seconds or self._policy.retry.deadline)
            except InputError as error:
                # It answered, and the answer was no: that is not its failure.
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
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise GaveUpError(f"no provider of '{self.name}' gave {what}: {told}") from first

    def _in_time(
        self, provider: LiveSource, what: str, ask: Callable[[LiveSource], Answer], seconds: float
    ) -> Answer:
        """Ask with retries; an answer that hangs is given up after `seconds`."""
        retry, future = self._policy.retry, Future[Answer]()

        def work() -> None:
            try:
                future.set_result(retry.call(lambda: ask(provider), f"{provider.name}: {what}"))
            except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
                future.set_exception(error)

        # Nothing can stop a vendor's blocking call; the thread ends with it, and holds up no exit.
        Thread(target=work, name=f"{self.name}-{provider.name}", daemon=True).start()
        try:
            return future.result(timeout=seconds)
        except TimeoutError as error:
            raise GaveUpError(f"{provider.name}: no {what} within {seconds:g} s") from error
