"""Scheduler of the demo's rollouts: starts each planned rollout when no other is under way.

The scheduler only starts rollouts; the controller decides how they end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.journal.streams import CANDIDATE_PROPOSED
from alphaloop.rollout_document import Override, RolloutKind, RolloutState
from cli.demo.progress import ProgressDisplay
from loop.turn import Loop, Turn
from rollouts.transition import RolloutOutcome, Transition

BARS_FOR_SABOTAGE = 84
"""Number of remaining bars at which the sabotages begin, even without a retraining before."""


@dataclass(frozen=True, slots=True)
class PlannedRollout:
    """Planned rollout of a version, with its kind and its override."""

    version: str
    kind: RolloutKind
    override: Override | None = None
    cause: str | None = None


@dataclass(slots=True)
class RefusedCandidate:
    """Candidate that its gate refused, so that no rollout was started."""

    version: str
    as_of: datetime
    reasons: list[str]
    pipeline_run: str


@dataclass(slots=True)
class RolloutScheduler:
    """Scheduler that starts planned rollouts one after the other, and reports events."""

    loop: Loop
    screen: ProgressDisplay
    bars: int
    waiting: deque[PlannedRollout] = field(default_factory=deque)
    sabotages: deque[PlannedRollout] = field(default_factory=deque)
    finished: list[Transition] = field(default_factory=list)
    rejections: list[RefusedCandidate] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    _retrained: bool = False

    def after(self, turn: Turn) -> None:
        """Report the results of a bar, and start the next rollout if none is under way."""
        for news in turn.news:
            self._report_news(news)
        for ended in turn.retrained:
            self._take_candidate(turn.as_of, ended)
        if turn.transition is not None:
            self._report_transition(turn.transition)
        self._start_next(turn.as_of)

    def _start_next(self, as_of: datetime) -> None:
        if self.loop.controller.document.state is not RolloutState.STEADY:
            return
        remaining = self.bars - len(self.loop.turns)
        if self.waiting:
            self._start(self.waiting.popleft(), as_of)
        elif self.sabotages and (self._retrained or remaining <= BARS_FOR_SABOTAGE):
            self._start(self.sabotages.popleft(), as_of)

    def _start(self, planned: PlannedRollout, as_of: datetime) -> None:
        document = self.loop.controller.start(
            planned.version, as_of, kind=planned.kind, override=planned.override, cause=planned.cause
        )
        by = f" by override [magenta]{planned.override.name}[/]" if planned.override else ""
        self.screen.say(
            f"{as_of.date()} rollout of v{document.challenger} ({planned.kind}) starts in shadow{by}"
        )

    def _take_candidate(self, as_of: datetime, ended: dict[str, Any]) -> None:
        self._retrained = True
        version, reasons = str(ended.get("version")), list(ended.get("reasons", ()))
        prefix = f"{as_of.date()} pipeline {ended['pipeline_run']}: v{version}"
        if ended.get("conclusion") == CANDIDATE_PROPOSED:
            self.screen.say(f"{prefix} [green]passed its gate[/]")
            self.waiting.append(PlannedRollout(version, RolloutKind.REAL, cause=str(ended["cause_id"])))
            return
        self.screen.say(f"{prefix} [yellow]refused[/] — {'; '.join(reasons)}")
        self.rejections.append(RefusedCandidate(version, as_of, reasons, str(ended["pipeline_run"])))

    def _report_news(self, news: dict[str, Any]) -> None:
        day = str(news["as_of"])[:10]
        if news["kind"] == "drift.alarm":
            named = ", ".join(news["features"][:6])
            self.screen.say(f"{day} [red]drift alarm[/]: {news['share']:.0%} of features — {named}")
        elif news["kind"] == "drift.blind":
            self.screen.say(f"{day} [yellow]drift is not seen[/]: {news['reason']}")
        else:
            self.screen.say(f"{day} retraining asked for: {news['reason']}")

    def _report_transition(self, step: Transition) -> None:
        self.transitions.append(step)
        day = step.as_of[:10]
        if step.outcome is None:
            self.screen.say(f"{day} v{step.version}: {step.reason}")
            return
        self.finished.append(step)
        colour = {RolloutOutcome.PROMOTED: "green", RolloutOutcome.ROLLED_BACK: "red"}.get(
            step.outcome, "yellow"
        )
        layer = f" on [bold]{step.layer}[/]" if step.layer else ""
        ended = f"[{colour}]{step.outcome}[/]{layer} after {step.bars} bars"
        self.screen.say(f"{day} v{step.version} ({step.kind}) {ended}: {step.reason}")
