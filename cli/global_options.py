"""The options that stand before the verb."""

from __future__ import annotations

from pathlib import Path
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
        verbose: Annotated[
            int,
            typer.Option(
                "--verbose",
                "-v",
                count=True,
                help="Log to standard error what is done; -vv: every detail.",
            ),
        ] = 0,
        log_file: Annotated[
            Path | None, typer.Option("--log-file", help="Append the log to a file, with times in UTC.")
        ] = None,
    ) -> None:
        pass


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alphaloop {__version__}")
        raise typer.Exit
