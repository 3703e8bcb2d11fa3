"""Scheduling of the threads in a serving process."""

from __future__ import annotations

import sys

SWITCH_SECONDS = 2e-4


def set_switch_interval() -> None:
    """Lower the interpreter's switch interval to 0.2 ms.

    So background threads do not delay responses by Python's default of 5 ms.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
