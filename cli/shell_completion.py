"""Completion of the command line by a shell: the shell's script, and the answers it asks for."""

from __future__ import annotations

import os
from typing import Any

from alphaloop.errors import UnknownNameError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ALPHALOOP_COMPLETE"
"""Variable with which the script asks the command for completions instead of running it."""


def completion_script(shell: str) -> str:
    """Return the script that makes `shell` complete the command; raises `UnknownNameError` for another."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise UnknownNameError("shell", shell, SHELLS)
    return get_completion_script(prog_name="alphaloop", complete_var=VARIABLE, shell=shell)


def is_completing() -> bool:
    """Return True where a shell asks for completions."""
    return VARIABLE in os.environ


def print_completions(command: Any) -> int:
    """Print the completions of the command line that the shell has put into the environment.

    Returns the exit code, by which fish tells completions from file names.
    """
    from typer import completion

    completion.completion_init()  # type: ignore[attr-defined]
    return completion.shell_complete(command, {}, "alphaloop", VARIABLE, os.environ[VARIABLE])
