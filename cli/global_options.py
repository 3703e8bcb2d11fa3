"""The options that stand before the verb."""

from __future__ import annotations

from typing import Annotated

import typer

from alphaloop import __version__


def register(app: typer.Typer) -> None:
    """Add the options to the command."""

    @app.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                help="Print the installed version and exit.",
                is_eager=True,
                callback=_print_version,
            ),
        ] = False,
    ) -> None:
        pass


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alphaloop {__version__}")
        raise typer.Exit
