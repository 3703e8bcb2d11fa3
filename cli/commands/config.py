"""`alphaloop config`: the settings in force, where each comes from, and the reference of all of them."""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import Annotated

import typer

from cli.commands.options import AsJson

app = typer.Typer(help="Settings: show, check, reference.", no_args_is_help=True)

Everything = Annotated[bool, typer.Option("--all", help="Show defaults too.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="config")


@app.command()
def show(everything: Everything = False, json: AsJson = False) -> None:
    """Show the settings that differ from their defaults, and where each comes from."""
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from cli.settings_reference import as_toml, origins

    loaded = settings.load_settings()
    rows = []
    for name, source in origins().items():
        if everything or source != "default":
            value = attrgetter(name)(loaded)
            rows.append({"setting": name, "value": as_toml(value), "from": source})

    def show_rows() -> None:
        if rows:
            output.print_table(
                ("setting", "value", "from"), [(row["setting"], row["value"], row["from"]) for row in rows]
            )
        else:
            output.print_line("every setting has its default; see them with: alphaloop config show --all")

    output.print_result(rows, json, show_rows, next_step("config show"))


@app.command()
def check() -> None:
    """Read the settings and the files of records that they name, and find their strategy.

    What is wrong is named, with exit code 2.
    """
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from cli.settings_reference import origins
    from marketdata.configured_records import configured_records
    from trading.execution.instrument_terms import InstrumentTerms
    from trading.strategy import configured_strategy

    chosen = settings.load_settings()
    configured_strategy(chosen.trading)
    configured_records(chosen.data)
    InstrumentTerms.from_settings(chosen.trading, ())
    changed = sum(source != "default" for source in origins().values())
    output.print_line(f"{changed} settings differ from their defaults, nothing wrong")
    output.print_next(next_step("config check"))


@app.command()
def reference() -> None:
    """Print the reference of all settings, in Markdown."""
    from cli.settings_reference import markdown

    sys.stdout.write(markdown())
