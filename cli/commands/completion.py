"""`alphaloop completion`: the script with which a shell completes verbs and options."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.shell_completion import SHELLS

Shell = Annotated[
    str,
    typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=lambda: list(SHELLS)),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(completion)


def completion(shell: Shell) -> None:
    """Print the script by which a shell completes verbs and options.

    bash: eval "$(alphaloop completion bash)" in ~/.bashrc; zsh: the same with zsh, after compinit, in
    ~/.zshrc; fish: alphaloop completion fish > ~/.config/fish/completions/alphaloop.fish
    """
    from cli.shell_completion import completion_script

    typer.echo(completion_script(shell))
