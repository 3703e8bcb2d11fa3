"""Output of commands: tables for people or JSON for programs, and progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alphaloop.runtime.jsonable import to_jsonable

PIPE_WIDTH = 200
"""Width of the output into a pipe or a file, in columns."""


def print_result(payload: Any, as_json: bool, show: Callable[[], None], step: str = "") -> None:
    """Print `payload` as JSON, or call `show` to print it for people, followed by the next `step`."""
    if as_json:
        sys.stdout.write(json.dumps(to_jsonable(payload), indent=2, allow_nan=False) + "\n")
    else:
        show()
        print_next(step)


def print_next(step: str) -> None:
    """Print the command to call next, if there is one, as the last line on standard error."""
    if step:
        sys.stdout.flush()
        print_error(f"next: {step}")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `numbers` are right-aligned."""
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for head in heads:
        drawn.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    _screen().print(drawn)


def print_facts(entries: Iterable[tuple[str, str]]) -> None:
    """Print pairs of names and values, one a line."""
    from rich.table import Table

    drawn = Table.grid(padding=(0, 3))
    drawn.add_column(style="dim")
    drawn.add_column(overflow="fold")
    for name, value in entries:
        drawn.add_row(name, value)
    _screen().print(drawn)


def print_line(line: str) -> None:
    """Print a line; rich's markup works."""
    _screen().print(line, soft_wrap=True)


def print_error(line: str) -> None:
    """Print one line to standard error."""
    sys.stderr.write(" ".join(line.split()) + "\n")
    sys.stderr.flush()


@contextmanager
def show_progress(doing: str) -> Iterator[Callable[[str], None]]:
    """Show a running task on standard error.

    Yields a function that reports its present step.

    Without a terminal each step is printed as a line.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda news: print_error(f"{doing}: {news}")
        return
    with console.status(f"{escape(doing)} …") as status:
        yield lambda news: status.update(f"{escape(doing)}: {escape(news)} …")


@contextmanager
def show_progress_bar(doing: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error.

    Yields a function that advances it by one step.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(doing, total=total, news="")
        yield lambda news: bar.update(task, advance=1, news=news)


def _screen() -> Any:
    from rich.console import Console

    # Into a pipe or a file, rich would fold rows to eighty columns.
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
