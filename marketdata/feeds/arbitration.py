"""Arbitration between providers: the bar taken at each timestamp, and changes of the active provider.

Pure logic without clock or waiting: callers pass the time, in seconds from any origin.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.bars import Bar
from marketdata.feeds.consensus import Consensus, ConsensusResult

MAX_PAST_CLOSES = 100


@dataclass(frozen=True, slots=True)
class ProviderSwitch:
    """A change of the active provider at the bar of `at`, from `left` to `taken`."""

    at: datetime
    left: str
    taken: str
    reason: str


@dataclass(frozen=True, slots=True)
class SettledBar:
    """A decided bar; `previous` is the close of the symbol's bar before, None for its first."""

    bar: Bar
    previous: datetime | None


@dataclass(slots=True)
class _Round:
    """The providers' reports of one symbol's bar, and the time `opened` of the first report."""

    opened: float
    bars: dict[str, Bar] = field(default_factory=dict)


@dataclass(slots=True)
class _Health:
    """A provider's latest bar, and its number of consecutive timestamps in good health."""

    latest: datetime | None = None
    streak: int = 0
    judged: datetime | None = None
    running: bool = True

    def judge(self, well: bool, at: datetime) -> None:
        """Count the timestamp `at` once if `well`; a failure at it ends the streak."""
        if not well:
            self.streak, self.judged = 0, at
        elif self.judged is None or at > self.judged:
            self.streak, self.judged = self.streak + 1, at

    def reached(self, at: datetime) -> bool:
        """Return True if the provider has sent this timestamp or a later one."""
        return self.latest is not None and self.latest >= at


@dataclass(slots=True)
class _Past:
    """A symbol's last settled bar, its round's opening time, and its believed adjusted closes."""

    last: Bar | None = None
    opened: float = 0.0
    closes: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_PAST_CLOSES))
    doubted: int = 0


class FeedArbiter:
    """Decides between `providers`, the preferred first; the first is active at the start.

    A bar is settled once every provider worth waiting for has sent it, or `deadline` seconds after the first
    did. If the active provider sent nothing by then, or was outvoted, the provider of the chosen bar becomes
    active, in that very bar. A preferred provider becomes active again after good health at `healthy`
    timestamps in a row. Without a `consensus` the active provider is believed and alone awaited.

    Bars of each symbol come out in order and each once. A provider that failed to send a symbol is not waited
    for until it sends that symbol in time again. `counts` has the number of `late` and `duplicate` reports,
    and of bars that were `substituted`, `outvoted` or `disputed`.
    """

    def __init__(
        self, providers: Sequence[str], deadline: float, healthy: int, consensus: Consensus | None
    ) -> None:
        self.providers = tuple(providers)
        self.active = self.providers[0]
        self.switches: list[ProviderSwitch] = []
        self.counts: Counter[str] = Counter()
        self._deadline, self._healthy, self._consensus = deadline, healthy, consensus
        self._health = {name: _Health() for name in self.providers}
        self._rounds: dict[str, dict[datetime, _Round]] = {}
        # Open rounds in the order of opening, and the symbols with news since their last examination: with
        # thousands of symbols, examining all of them for each bar would take too long.
        self._opened: deque[tuple[float, str, datetime]] = deque()
        self._touched: dict[str, None] = {}
        self._symbols: dict[str, _Past] = {}
        self._absent: set[tuple[str, str]] = set()

    def offer(self, provider: str, bar: Bar, now: float) -> None:
        """Add a bar sent by `provider`."""
        health, known = self._health[provider], self._symbols.setdefault(bar.symbol, _Past())
        health.running = True
        if not health.reached(bar.timestamp):
            health.latest = bar.timestamp
        if known.last is not None and bar.timestamp <= known.last.timestamp:
            self._repeated(provider, bar, known, now)
            return
        rounds = self._rounds.setdefault(bar.symbol, {})
        if bar.timestamp not in rounds:
            rounds[bar.timestamp] = _Round(now)
            self._opened.append((now, bar.symbol, bar.timestamp))
        reports = rounds[bar.timestamp].bars
        if provider in reports:
            self.counts["duplicate"] += 1
            return
        reports[provider] = bar
        self._absent.discard((provider, bar.symbol))
        self._touched[bar.symbol] = None

    def mark_down(self, provider: str) -> None:
        """Note that the provider's stream is down: nothing is awaited until it sends a bar again."""
        self._health[provider].running = False
        self._health[provider].streak = 0
        self._touched.update(dict.fromkeys(self._rounds))

    def latest(self, provider: str) -> datetime | None:
        """Return the close of the newest bar that the provider sent."""
        return self._health[provider].latest

    def next_deadline(self) -> float | None:
        """Return the time of the next forced decision; None while no bar is open."""
        while self._opened:
            opened, symbol, at = self._opened[0]
            if at in self._rounds.get(symbol, {}):
                return opened + self._deadline
            self._opened.popleft()
        return None

    def settle(self, now: float, *, finish: bool = False) -> list[SettledBar]:
        """Return the bars that can be decided now, by timestamp; with `finish`, all open bars."""
        settled: list[SettledBar] = []
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
        """Return True if a provider may still send this bar.

        Bars come in order: a provider that sent a later one will not.
        """
        candidates = self.providers if self._consensus else (self.active,)
        beyond = {name for later, later_round in rounds.items() if later > at for name in later_round.bars}
        return any(
            name not in rounds[at].bars
            and name not in beyond
            and self._health[name].running
            and (name, symbol) not in self._absent
            for name in candidates
        )

    def _decide(self, symbol: str, at: datetime, reports: _Round) -> SettledBar:
        known = self._symbols[symbol]
        ranked = sorted(reports.bars, key=lambda name: (name != self.active, self.providers.index(name)))
        bars = [reports.bars[name] for name in ranked]
        verdict = (
            self._consensus.settle(bars, known.closes)
            if self._consensus
            else ConsensusResult(bars[0], "alone")
        )
        self._judge(symbol, at, reports, verdict)
        self.counts["substituted"] += self.active not in reports.bars
        self._change(at, reports, verdict)
        previous = known.last.timestamp if known.last else None
        known.last, known.opened = verdict.bar, reports.opened
        self._remember(known, verdict, alone=len(bars) == 1)
        return SettledBar(verdict.bar, previous)

    def _judge(self, symbol: str, at: datetime, reports: _Round, verdict: ConsensusResult) -> None:
        before = self._symbols[symbol].last
        for name, health in self._health.items():
            expected = self._consensus is not None or name == self.active
            if before and health.judged and health.judged < before.timestamp:
                health.streak = 0
            if name in reports.bars:
                if not verdict.bar.disputed:
                    health.judge(name not in verdict.outvoted, at)
            elif expected and (name, symbol) not in self._absent:
                self._absent.add((name, symbol))
                if not health.reached(at):
                    health.judge(False, at)
        self.counts["outvoted"] += len(verdict.outvoted)
        self.counts["disputed"] += verdict.bar.disputed

    def _change(self, at: datetime, reports: _Round, verdict: ConsensusResult) -> None:
        if self.active in verdict.outvoted:
            self._switch(at, verdict.bar.provider, f"outvoted ({verdict.rule})")
        elif self.active not in reports.bars and not self._health[self.active].reached(at):
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
        self.switches.append(ProviderSwitch(at, self.active, to, reason))
        self.active = to
        self._touched.update(dict.fromkeys(self._rounds))

    def _repeated(self, provider: str, bar: Bar, known: _Past, now: float) -> None:
        """Handle a report of a settled bar.

        A report in time counts towards the provider's health, even though no one waited for it.
        """
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

    def _remember(self, known: _Past, verdict: ConsensusResult, alone: bool) -> None:
        if not verdict.bar.disputed:
            known.closes.append(verdict.bar.close * verdict.bar.adjustment)
            known.doubted = 0
            return
        # A price level that a single provider keeps reporting without contradiction is now the market's.
        known.doubted = known.doubted + 1 if alone else 0
        if self._consensus is not None and known.doubted >= self._consensus.min_changes:
            known.closes.clear()
