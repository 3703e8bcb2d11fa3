"""`alphaloop init`: write a new workspace with settings, folders and a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import AsJson
from cli.new_workspace import TEMPLATES

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")]
Template = Annotated[
    str,
    typer.Option(
        help="daily (an exchange's days), crypto (hours, round the clock) or fx (hours, with weekends).",
        autocompletion=lambda: list(TEMPLATES),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(init)


def init(folder: Folder, template: Template = TEMPLATES[0], json: AsJson = False) -> None:
    """Write a workspace: settings with remarks, folders for bars and your own code, a notebook."""
    from cli import output
    from cli.new_workspace import create_workspace
    from cli.next_steps import next_step

    written = create_workspace(folder, template)
    step = next_step("init") if folder.samefile(".") else next_step("init elsewhere", folder=folder)

    def show() -> None:
        for path in written:
            output.print_line(str(path))

    output.print_result({"folder": folder, "template": template, "files": written}, json, show, step)
