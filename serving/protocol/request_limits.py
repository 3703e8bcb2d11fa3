"""Limits of one request: how much work it may be, whatever its bytes.

What is large is worked off beside the event loop (`serving.server.large_requests`); what is larger than these
limits is refused with the limit's name and value.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.protocol.messages import InvalidRequestError

# A body above this is read, scored and answered in a thread, and so is a request for more symbols.
LARGE_BYTES = 2**16
LARGE_SYMBOLS = 512
# Of texts that are kept with each prediction: the name of a symbol, in bytes, and the route key.
MAX_NAME_BYTES = 256
MAX_ROUTE_KEY = 1_024
# Of a panel: 16 MiB of float32, and a row of scores and statuses for each symbol.
MAX_ELEMENTS = 2**22
MAX_PANEL_SYMBOLS = 2**18
# Symbols of a request by name: so many times those that the version was trained on,
MAX_UNIVERSES = 4
# but always as many as this.
MIN_NAMES = 256
# Where a card does not name its universe; less than SQLite takes in one query.
MAX_NAMES_WITHOUT_UNIVERSE = 10_000
# Of a panel for a version that compares symbols with each other, whose work may grow with their square.
MAX_COMPARED_WITHOUT_UNIVERSE = 2_000
# Before it is known which version is asked.
MAX_NAMES = 100_000


def require_elements(shape: Sequence[int], elements: int) -> None:
    """Raise `InvalidRequestError` for a panel of `shape` with too many symbols or `elements`."""
    if shape[0] > MAX_PANEL_SYMBOLS:
        raise InvalidRequestError(
            f"input 'panel' has {shape[0]} symbols; a request has at most {MAX_PANEL_SYMBOLS}: send several"
        )
    if elements > MAX_ELEMENTS:
        raise InvalidRequestError(
            f"input 'panel' has {elements} values; a request has at most {MAX_ELEMENTS}: send several"
        )


def require_names(count: int, most: int = MAX_NAMES) -> None:
    """Raise `InvalidRequestError` for a request by more than `most` symbols."""
    if count > most:
        raise InvalidRequestError(
            f"input 'symbols' has {count} elements; a request for this model has at most {most}: "
            "send several, or ask for symbols that it was trained on"
        )


def most_compared(universe: int) -> int:
    """The most symbols of a panel that a version with a `universe` of that many compares; 0 is not known."""
    return max(MIN_NAMES, MAX_UNIVERSES * universe) if universe else MAX_COMPARED_WITHOUT_UNIVERSE


def most_names(universe: int) -> int:
    """The most symbols that may be asked of a version with a `universe` of that many; 0 is not known."""
    return max(MIN_NAMES, MAX_UNIVERSES * universe) if universe else MAX_NAMES_WITHOUT_UNIVERSE
