"""How the threads of a process that serves share the interpreter."""

from __future__ import annotations

import sys

SWITCH_SECONDS = 2e-4


def give_way() -> None:
    """Have a thread in the background give way to one that has an answer sooner than after Python's 5 ms."""
    sys.setswitchinterval(SWITCH_SECONDS)
