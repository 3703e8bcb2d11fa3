"""Reference data: the terms of each instrument, as known at any time.

Terms change (US stocks went to decimals in 2001; CME halves a tick now and then), and changes are announced
before. A table of versions holds the terms with the moment from which they applied and the moment from
which they were known; undated terms hold always.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from alphaloop.clock import as_utc
from alphaloop.errors import DataError, UnknownNameError
from alphaloop.instruments import Instrument
from marketdata.point_in_time.record_files import read_dataclasses

_ALWAYS = datetime.min.replace(tzinfo=UTC)


class ReferenceData:
    """Versions of instruments' terms, as known at any moment.

    `DataError` for two versions of a symbol with the same start and publication.
    """

    def __init__(self, versions: Sequence[Instrument]) -> None:
        self._versions: dict[str, list[Instrument]] = {}
        for version in sorted(versions, key=_since):
            earlier = self._versions.setdefault(version.symbol, [])
            if earlier and _since(earlier[-1]) == _since(version):
                raise DataError(
                    f"{version.symbol} has two versions from {version.start} published at "
                    f"{version.published}; keep one, or date the later one"
                )
            earlier.append(version)

    @classmethod
    def read(cls, path: Path) -> ReferenceData:
        """Read a CSV, Parquet or TOML file with the fields of `Instrument` as columns.

        `DataError` names file, row and column.
        """
        try:
            return cls(read_dataclasses(path, Instrument))
        except DataError as error:
            raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from error

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that ever had terms, sorted, delisted ones included."""
        return tuple(sorted(self._versions))

    def versions(self, symbol: str) -> tuple[Instrument, ...]:
        """Return every version of a symbol's terms, by start and publication; empty for an unknown symbol."""
        return tuple(self._versions.get(symbol, ()))

    def instrument(self, symbol: str, as_of: datetime) -> Instrument:
        """Return the terms in force at `as_of` as published by then.

        The version with the latest start applies, and of two with one start the one published later.
        `UnknownNameError` for an unknown symbol, `DataError` where nothing was known yet.
        """
        if symbol not in self._versions:
            raise UnknownNameError("instrument", symbol, self._versions, where="the reference data")
        moment = as_utc(as_of)
        holding = [version for version in self._versions[symbol] if max(_since(version)) <= moment]
        if not holding:
            first = min(max(_since(version)) for version in self._versions[symbol])
            raise DataError(
                f"nothing was known of {symbol} at {moment.isoformat()}; its terms begin at "
                f"{first.isoformat()}"
            )
        return holding[-1]


def _since(version: Instrument) -> tuple[datetime, datetime]:
    return version.start or _ALWAYS, version.published or _ALWAYS
