"""Options shared by several commands, and the parsing of their values."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marketdata.source import Source

from alphaloop.errors import InputError

# Years within which nanosecond timestamps and trading calendars work.
MIN_YEAR, MAX_YEAR = 1800, 2200
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Symbols = Annotated[
    str, typer.Option(help='Symbols between commas, as AAPL,"BRK B"; all of the source by default.')
]
Model = Annotated[
    str, typer.Option(help="A model of the registry; serving.model of the settings by default.")
]
Reason = Annotated[str, typer.Option(help="Why; it is journaled.")]
PagePort = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Port of /livez, /readyz and /metrics; 0: none.")
]
By = Annotated[str, typer.Option(help="Who; it is journaled.")]


def split_names(given: str) -> tuple[str, ...]:
    """Split `AAPL,AMD` or `AAPL AMD` into names, without repetitions."""
    return tuple(dict.fromkeys(given.replace(",", " ").split()))


def split_symbols(given: str, source: Source) -> tuple[str, ...]:
    """Split `AAPL,BRK B` into symbols, without repetitions.

    A symbol may hold blanks, and commas where it is quoted. A part with blanks (`AAPL AMD`) is split at them
    where the source has each word as a symbol, but not the whole. Raises `InputError` for unbalanced quotes.
    """
    try:
        parts = [part.strip() for part in next(csv.reader([given], skipinitialspace=True, strict=True), [])]
    except csv.Error as error:
        raise InputError(f"--symbols {given} cannot be read ({error}); write AAPL,KO") from error
    blank = any(" " in part for part in parts)
    known = set(source.symbols()) if blank else set()
    symbols: list[str] = []
    for part in filter(None, parts):
        words = part.split()
        symbols += words if part not in known and known.issuperset(words) else [part]
    return tuple(dict.fromkeys(symbols))


def parse_time(given: str, option: str, calendar: str, *, end_of_day: bool = False) -> datetime:
    """Parse a day as its first (or last) moment in the calendar, or an ISO time (UTC without a zone).

    Raises `InputError` for any other text.
    """
    from marketdata.calendars import day_span

    try:
        parsed = datetime.fromisoformat(given)
    except ValueError as error:
        raise InputError(f"{option} '{given}' is no date ({error}); write it as 2020-03-16") from error
    if not MIN_YEAR <= parsed.year <= MAX_YEAR:
        raise InputError(f"{option} '{given}' is out of reach; years are from {MIN_YEAR} to {MAX_YEAR}")
    if len(given) == len("2020-03-16"):
        return day_span(parsed.date(), calendar)[end_of_day]
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def operator() -> str:
    """Return the name of the user at this terminal, for the journal."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
