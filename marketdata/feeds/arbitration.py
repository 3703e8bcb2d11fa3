"""The election: whose bar is taken, bar by bar, and when the active provider changes.

No clock and no waiting in here: who uses it says what time it is, in seconds from any origin.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.bars import Bar
from marketdata.feeds.consensus import Consensus, Verdict

PAST = 100


@dataclass(frozen=True, slots=True)
class Switch:
    """The active provider changed at the bar of `at`, from `left` to `taken`."""

    at: datetime
    left: str
    taken: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A bar that was decided on; `previous` is the close of the symbol's bar before, None for its first."""

    bar: Bar
    previous: datetime | None


@dataclass(slots=True)
class _Round:
    """What providers told of one symbol's bar since `opened`, when the first of them did."""

    opened: float
    bars: dict[str, Bar] = field(default_factory=dict)


@dataclass(slots=True)
class _Health:
    """A provider: its latest bar, and at how many timestamps in a row it did well."""

    latest: datetime | None = None
    streak: int = 0
    judged: datetime | None = None
    running: bool = True

    def judge(self, well: bool, at: datetime) -> None:
        """Count `at` once for good; but whatever is ill at it ends the row."""
        if not well:
            self.streak, self.judged = 0, at
        elif self.judged is None or at > self.judged:
            self.streak, self.judged = self.streak + 1, at

    def reached(self, at: datetime) -> bool:
        """Whether it has told of this timestamp, or of a later one."""
        return self.latest is not None and self.latest >= at


@dataclass(slots=True)
class _Past:
    """A symbol: its last settled bar, when its round opened, and the adjusted closes that were believed."""

    last: Bar | None = None
    opened: float = 0.0
    closes: deque[float] = field(default_factory=lambda: deque(maxlen=PAST))
    doubted: int = 0


class Election:
    """Decides between `providers`, the preferred first, the first being active.

    A bar is settled once every provider that it is worth waiting for has told of it, or `deadline` seconds
    after the first did. If the active provider told nothing by then, or was outvoted, the one whose bar
    is taken becomes active, in that very bar. A preferred one is active again after doing well at
    `healthy` timestamps in a row. Without a `consensus` the active provider is believed and alone awaited.

    Bars of each symbol come out in order and each once. A provider that failed to tell of a symbol is not
    waited for until it tells of it in time again. `counts` says what was `late` or `duplicate`, and how
    many bars were `substituted`, `outvoted` or `disputed`.
    """

    def __init__(
        self, providers: Sequence[str], deadline: float, healthy: int, consensus: Consensus | None
    ) -> None:
        self.providers = tuple(providers)
        self.active = self.providers[0]
        self.switches: list[Switch] = []
        self.counts: Counter[str] = Counter()
        self._deadline, self._healthy, self._consensus = deadline, healthy, consensus
        self._health = {name: _Health() for name in self.providers}
        self._rounds: dict[str, dict[datetime, _Round]] = {}
        # Open rounds as they opened, and the symbols of which something is new since they were looked at:
        # with thousands of symbols, looking at all of them for each bar would take too long.
        self._opened: deque[tuple[float, str, datetime]] = deque()
        self._touched: dict[str, None] = {}
        self._symbols: dict[str, _Past] = {}
        self._absent: set[tuple[str, str]] = set()

    def offer(self, provider: str, bar: Bar, now: float) -> None:
        """Take a bar that `provider` told."""
        health, known = self._health[provider], self._symbols.setdefault(bar.symbol, _Past())
        health.running = True
        if not health.reached(bar.timestamp):
            health.latest = bar.timestamp
        if known.last is not None and bar.timestamp <= known.last.timestamp:
            self._told_again(provider, bar, known, now)
            return
        rounds = self._rounds.setdefault(bar.symbol, {})
        if bar.timestamp not in rounds:
            rounds[bar.timestamp] = _Round(now)
            self._opened.append((now, bar.symbol, bar.timestamp))
        told = rounds[bar.timestamp].bars
        if provider in told:
            self.counts["duplicate"] += 1
            return
        told[provider] = bar
        self._absent.discard((provider, bar.symbol))
        self._touched[bar.symbol] = None

    def left(self, provider: str) -> None:
        """The provider's stream is down: nothing is awaited from it until it tells of a bar again."""
        self._health[provider].running = False
        self._health[provider].streak = 0
        self._touched.update(dict.fromkeys(self._rounds))

    def latest(self, provider: str) -> datetime | None:
        """The close of the newest bar that the provider told of."""
        return self._health[provider].latest

    def wakes(self) -> float | None:
        """When `settle` has something to do even if nothing more is offered; None while no bar is open."""
        while self._opened:
            opened, symbol, at = self._opened[0]
            if at in self._rounds.get(symbol, {}):
                return opened + self._deadline
            self._opened.popleft()
        return None

    def settle(self, now: float, *, finish: bool = False) -> list[Settled]:
        """The bars that can be decided now, by timestamp; all that are open where it is time to `finish`."""
        settled: list[Settled] = []
        if finish:
            self._touched.update(dict.fromkeys(self._rounds))
        while self._opened and now >= self._opened[0][0] + self._deadline:
            self._touched[self._opened.popleft()[1]] = None
        while self._touched:
            symbol = next(iter(self._touched))
            del self._touched[symbol]
            rounds = self._rounds.get(symbol, {})
            for at in sorted(rounds):
                overdue = finish or now >= rounds[at].opened + self._deadline
                if not overdue and self._awaited(symbol, at, rounds):
                    break
                settled.append(self._decide(symbol, at, rounds.pop(at)))
            if not rounds:
                self._rounds.pop(symbol, None)
        return sorted(settled, key=lambda one: one.bar.timestamp)

    def _awaited(self, symbol: str, at: datetime, rounds: dict[datetime, _Round]) -> bool:
        """Whether one may still tell of this bar. Bars come in order: who told of a later one will not."""
        asked = self.providers if self._consensus else (self.active,)
        beyond = {name for later, told in rounds.items() if later > at for name in told.bars}
        return any(
            name not in rounds[at].bars
            and name not in beyond
            and self._health[name].running
            and (name, symbol) not in self._absent
            for name in asked
        )

    def _decide(self, symbol: str, at: datetime, told: _Round) -> Settled:
        known = self._symbols[symbol]
        ranked = sorted(told.bars, key=lambda name: (name != self.active, self.providers.index(name)))
        bars = [told.bars[name] for name in ranked]
        verdict = self._consensus.settle(bars, known.closes) if self._consensus else Verdict(bars[0], "alone")
        self._judge(symbol, at, told, verdict)
        self.counts["substituted"] += self.active not in told.bars
        self._change(at, told, verdict)
        previous = known.last.timestamp if known.last else None
        known.last, known.opened = verdict.bar, told.opened
        self._remember(known, verdict, alone=len(bars) == 1)
        return Settled(verdict.bar, previous)

    def _judge(self, symbol: str, at: datetime, told: _Round, verdict: Verdict) -> None:
        before = self._symbols[symbol].last
        for name, health in self._health.items():
            asked = self._consensus is not None or name == self.active
            if before and health.judged and health.judged < before.timestamp:
                health.streak = 0
            if name in told.bars:
                if not verdict.bar.disputed:
                    health.judge(name not in verdict.outvoted, at)
            elif asked and (name, symbol) not in self._absent:
                self._absent.add((name, symbol))
                if not health.reached(at):
                    health.judge(False, at)
        self.counts["outvoted"] += len(verdict.outvoted)
        self.counts["disputed"] += verdict.bar.disputed

    def _change(self, at: datetime, told: _Round, verdict: Verdict) -> None:
        if self.active in verdict.outvoted:
            self._switch(at, verdict.bar.provider, f"outvoted ({verdict.rule})")
        elif self.active not in told.bars and not self._health[self.active].reached(at):
            running = self._health[self.active].running
            reason = f"no bar within {self._deadline:g} s of the first" if running else "its stream is down"
            self._switch(at, verdict.bar.provider, reason)
        self._change_back(at)

    def _change_back(self, at: datetime) -> None:
        for name in self.providers[: self.providers.index(self.active)]:
            if self._health[name].streak >= self._healthy:
                self._switch(at, name, f"healthy for {self._health[name].streak} bars")
                return

    def _switch(self, at: datetime, to: str, reason: str) -> None:
        self.switches.append(Switch(at, self.active, to, reason))
        self.active = to
        self._touched.update(dict.fromkeys(self._rounds))

    def _told_again(self, provider: str, bar: Bar, known: _Past, now: float) -> None:
        """Bars that are settled: one that came in time, though others did not wait for it, does it credit."""
        last = known.last
        if last is None or bar.timestamp != last.timestamp or now > known.opened + self._deadline:
            self.counts["late"] += 1
            return
        self.counts["duplicate"] += provider == last.provider
        self._absent.discard((provider, bar.symbol))
        if provider != last.provider and not last.disputed:
            agrees = self._consensus is None or self._consensus.agree(bar, last)
            self._health[provider].judge(agrees, bar.timestamp)
            self._change_back(bar.timestamp)

    def _remember(self, known: _Past, verdict: Verdict, alone: bool) -> None:
        if not verdict.bar.disputed:
            known.closes.append(verdict.bar.close * verdict.bar.adjustment)
            known.doubted = 0
            return
        # A level that one provider alone keeps telling, and none contradicts, is the market's by now.
        known.doubted = known.doubted + 1 if alone else 0
        if self._consensus is not None and known.doubted >= self._consensus.least:
            known.closes.clear()
