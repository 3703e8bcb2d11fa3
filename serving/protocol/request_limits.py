"""Limits on the work of one request, independent of its size in bytes.

Large requests run in a thread beside the event loop (`serving.server.large_requests`); larger ones than these
limits are refused with the limit's name and value.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.protocol.messages import InvalidRequestError

# A larger body is read, scored and answered in a thread, and so is a request for more symbols.
LARGE_BYTES = 2**16
LARGE_SYMBOLS = 512
# Limits of texts that the prediction log keeps: a symbol's name, in bytes, and a route key.
MAX_NAME_BYTES = 256
MAX_ROUTE_KEY_CHARACTERS = 1_024
# Limit of the route keys in one request: more than any book has sleeves.
MAX_ROUTE_KEYS = 10_000
# Limits of a panel: 16 MiB of float32, and a row of scores and statuses for each symbol.
MAX_ELEMENTS = 2**22
MAX_PANEL_SYMBOLS = 2**18
# Limit of a request by symbols, as a multiple of the version's training universe,
MAX_UNIVERSE_MULTIPLE = 4
# but never below this.
MIN_SYMBOL_LIMIT = 256
# Limit where a card does not name its universe; less than SQLite takes in one query.
MAX_SYMBOLS_WITHOUT_UNIVERSE = 10_000
# Limit of a panel for a version that compares symbols with each other: its work may grow with their square.
MAX_COMPARED_WITHOUT_UNIVERSE = 2_000
# Limit before the version of the request is known.
MAX_REQUEST_SYMBOLS = 100_000


def require_panel_size(shape: Sequence[int], elements: int) -> None:
    """Raise `InvalidRequestError` for a panel of `shape` with too many symbols or `elements`."""
    if shape[0] > MAX_PANEL_SYMBOLS:
        raise InvalidRequestError(
            f"input 'panel' has {shape[0]} symbols; a request has at most {MAX_PANEL_SYMBOLS}: send several"
        )
    if elements > MAX_ELEMENTS:
        raise InvalidRequestError(
            f"input 'panel' has {elements} values; a request has at most {MAX_ELEMENTS}: send several"
        )


def require_symbol_count(count: int, most: int = MAX_REQUEST_SYMBOLS) -> None:
    """Raise `InvalidRequestError` for a request by more than `most` symbols."""
    if count > most:
        raise InvalidRequestError(
            f"input 'symbols' has {count} elements; a request for this model has at most {most}: "
            "send several, or ask for symbols that it was trained on"
        )


def require_route_key_count(count: int) -> None:
    """Raise `InvalidRequestError` for a request with more than `MAX_ROUTE_KEYS` route keys."""
    if count > MAX_ROUTE_KEYS:
        raise InvalidRequestError(
            f"input 'route_key' has {count} elements; a request has at most {MAX_ROUTE_KEYS}: send several"
        )


def max_compared_symbols(universe: int) -> int:
    """Return the maximum number of symbols of a panel that a cross-sectional version compares.

    `universe` is the size of the version's training universe; 0 if unknown.
    """
    return (
        max(MIN_SYMBOL_LIMIT, MAX_UNIVERSE_MULTIPLE * universe) if universe else MAX_COMPARED_WITHOUT_UNIVERSE
    )


def max_request_symbols(universe: int) -> int:
    """Return the maximum number of symbols in a request by symbols.

    `universe` is the size of the version's training universe; 0 if unknown.
    """
    return (
        max(MIN_SYMBOL_LIMIT, MAX_UNIVERSE_MULTIPLE * universe) if universe else MAX_SYMBOLS_WITHOUT_UNIVERSE
    )
