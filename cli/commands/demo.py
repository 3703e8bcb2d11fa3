"""`alphaloop demo`: the whole loop on real market data."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo() -> None:
    """Run the whole loop on real market data, and leave a report in runs/demo/latest."""
    from cli import output
    from cli.demo import command
    from cli.next_steps import next_step

    if code := command.run_demo():
        raise typer.Exit(code)
    output.print_next(next_step("demo"))
