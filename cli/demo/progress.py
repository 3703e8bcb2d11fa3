"""Progress of the demo on the terminal: stages with durations, the replay's state and recent events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from alphaloop.clock import monotonic

EVENTS_SHOWN = 14


@dataclass(slots=True)
class ProgressStage:
    """Stage of the demo and its duration; `seconds` is None while it runs."""

    name: str
    started: float
    seconds: float | None = None


@dataclass(slots=True)
class ProgressDisplay:
    """Live display of the demo.

    Without a terminal, events are printed as plain lines.
    """

    console: Console = field(default_factory=Console)
    stages: list[ProgressStage] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    _live: Live | None = None
    _figures: dict[str, str] = field(default_factory=dict)
    _progress: Progress = field(
        default_factory=lambda: Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
    )

    @contextmanager
    def shown(self) -> Iterator[ProgressDisplay]:
        """Show the display while the block runs."""
        if not self.console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._render, console=self.console, refresh_per_second=4) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and record its duration."""
        current = ProgressStage(name, monotonic())
        self.stages.append(current)
        if self._live is None:
            self.console.rule(f"[bold]{name}", align="left")
        yield
        current.seconds = monotonic() - current.started

    def say(self, text: str) -> None:
        """Show one event, given in rich markup."""
        self.events.append(Text.from_markup(text).plain)
        self._recent.append(text)
        if self._live is None:
            self.console.print(text)

    def figure(self, name: str, value: str) -> None:
        """Set one of the figures at the top of the display."""
        self._figures[name] = value

    def track(self, description: str, total: int) -> TaskID:
        """Add a progress bar."""
        return self._progress.add_task(description, total=total)

    def advance(self, task: TaskID) -> None:
        """Move a progress bar by one."""
        self._progress.advance(task)

    def _render(self) -> RenderableType:
        stages = Table.grid(padding=(0, 2))
        for stage in self.stages:
            running = stage.seconds is None
            seconds = monotonic() - stage.started if stage.seconds is None else stage.seconds
            mark = "[yellow]●[/]" if running else "[green]✓[/]"
            stages.add_row(
                mark, f"[bold]{stage.name}[/]" if running else stage.name, f"[dim]{seconds:6.1f} s[/]"
            )
        figures = Table.grid(padding=(0, 2))
        for name, value in self._figures.items():
            figures.add_row(f"[dim]{name}[/]", f"[bold]{value}[/]")
        top = Table.grid(expand=True)
        top.add_column(ratio=1)
        top.add_column(ratio=1)
        top.add_row(stages, figures)
        events = Group(*(Text.from_markup(event, overflow="ellipsis") for event in self._recent))
        return Panel(
            Group(top, Padding(self._progress, (1, 0)), events),
            title="[bold]alphaloop[/] — the loop",
            width=110,
        )
