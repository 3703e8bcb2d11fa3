"""`alphaloop monitor`: check the prediction log for drift once."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import AsJson

Once = Annotated[bool, typer.Option("--once", help="Check once and end; for schedulers.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(monitor)


def monitor(once: Once = True, json: AsJson = False) -> None:
    """Compare live features with those of training; journal alarms and retrain requests."""
    from cli import formatting, output
    from cli.next_steps import next_step
    from loop import workspace
    from monitoring.drift_check import check_drift_once

    with output.show_progress("reading the prediction log"):
        look = check_drift_once(workspace.writable_settings())

    def show() -> None:
        output.print_facts(
            formatting.flatten_facts({name: value for name, value in look.items() if name != "alarms"})
        )
        rows = [
            [one["date"], formatting.format_percent(one["share"], 0), ", ".join(one["features"])]
            for one in look.get("alarms", ())
        ]
        if rows:
            output.print_table(("alarm", "share", "features"), rows, numbers=("share",))

    output.print_result(look, json, show, next_step("monitor"))
