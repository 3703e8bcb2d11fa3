"""`alphaloop demo`: the whole loop on real market data."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo() -> None:
    """Run the whole loop on real market data, and leave a report in runs/demo/latest."""
    from cli.demo import command

    raise typer.Exit(command.run_demo())
