"""The health of a long-running process: what its pages `/livez` and `/readyz` say, part by part.

A process is not ready only where another one of its kind could do the work while it cannot: it starts, it
drains, or a port of its own is dead. A store that is away is the same for every instance, so that the part is
degraded and the process stays ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class PartState(StrEnum):
    """State of one part: `ok`, `degraded` (it goes on with what it knows), or `down`."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class PartHealth:
    """State of one part of a process.

    Parameters
    ----------
    part : str
        Name of the part, as `registry` or `journal`.
    state : PartState
        State of the part.
    reason : str
        Why it is not `ok`, in one line; empty where it is.
    """

    part: str
    state: PartState = PartState.OK
    reason: str = ""


def readiness_page(parts: Iterable[PartHealth]) -> tuple[int, dict[str, Any]]:
    """Build the answer of `/readyz`.

    Parameters
    ----------
    parts : iterable of PartHealth
        The parts of the process.

    Returns
    -------
    tuple of int and dict
        HTTP status (503 where a part is down, else 200), and the body: `state`, the worst of all, and
        `parts`, the state of each, with its `reason` where there is one.

    Examples
    --------
    >>> away = PartHealth("registry", PartState.DEGRADED, "registry:5000 does not answer since 12 s")
    >>> status, body = readiness_page([PartHealth("model"), away])
    >>> status, body["state"], body["parts"]["model"]
    (200, 'degraded', {'state': 'ok'})
    """
    listed = list(parts)
    worst = max((one.state for one in listed), key=list(PartState).index, default=PartState.OK)
    body = {
        one.part: {"state": one.state.value, **({"reason": one.reason} if one.reason else {})}
        for one in listed
    }
    return (503 if worst is PartState.DOWN else 200), {"state": worst.value, "parts": body}
