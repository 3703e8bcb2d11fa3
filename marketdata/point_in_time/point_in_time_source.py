"""A source of bars together with the records of a workspace: members, sectors and external series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from alphaloop.errors import DataError
from marketdata.point_in_time.point_in_time_records import PointInTimeRecords
from marketdata.source import Source, identity_of, require_symbols, select_bars

MAX_SYMBOLS_SHOWN = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PointInTimeSource:
    """A source whose bars have the columns of `records`; everything else is that of `base`.

    Its symbols are all that were ever members of the universe, as far as `base` has them, so that those that
    left or failed are among them.

    Parameters
    ----------
    base
        Source of the bars.
    records
        Records to attach.
    """

    base: Source
    records: PointInTimeRecords

    @property
    def name(self) -> str:
        """Name of the source and of its records."""
        return f"{self.base.name} with {', '.join(self.records.digests)}"

    @property
    def identity(self) -> str:
        """Identity of the source, and the files of its records."""
        return f"{identity_of(self.base)}#{self.records.identity}"

    @property
    def description(self) -> str:
        """Description of the source."""
        return self.base.description

    @property
    def calendar(self) -> str:
        """Calendar of the source."""
        return self.base.calendar

    @property
    def adjusted_only(self) -> bool:
        """True if the source has adjusted prices only."""
        return self.base.adjusted_only

    def __getattr__(self, name: str) -> Any:
        """Return an optional attribute of the source: its stream, or the frequency that was stated."""
        if name.startswith("_") or name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def symbols(self) -> tuple[str, ...]:
        """Return all symbols of the source that were ever members, sorted.

        `DataError` if the source has none of the members.
        """
        listed, universe = self.base.symbols(), self.records.universe
        if universe is None:
            return listed
        members = universe.symbols()
        symbols = tuple(symbol for symbol in members if not listed or symbol in listed)
        if not symbols:
            raise DataError(
                f"source '{self.base.name}' has none of the {len(members)} members of '{universe.name}' "
                f"({_shown(members)}); name the symbols in data.universe as the source does"
            )
        return symbols

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return the bars of the source with the columns of the records.

        Parameters
        ----------
        symbols
            Symbols to return; an empty sequence stands for all.
        start, end
            First and last close, aware, both included; None for no limit.
        frequency
            Length of a bar.

        Returns
        -------
        pyarrow.Table
            Rows of `alphaloop.bars.BARS_SCHEMA` with further columns.

        Raises
        ------
        UnknownNameError
            For a symbol that the source lacks, or that was never a member.
        DataError
            For a frequency that the source lacks, a column that the bars have already, and corporate actions
            that do not fit the bars.
        """
        chosen = require_symbols(self, symbols)
        if set(chosen) == set(self.symbols()):
            self._log_missing()
        # An adjustment depends on all bars before, in whichever part it is asked for.
        first = None if self.records.actions else start
        table = self.records.annotate_table(self.base.history(chosen, first, end, frequency))
        return table if first is start else select_bars(table, chosen, start, end)

    def missing(self) -> tuple[str, ...]:
        """Return the members that the source does not list: without them, results are flattered."""
        listed, universe = self.base.symbols(), self.records.universe
        if universe is None or not listed:
            return ()
        return tuple(symbol for symbol in universe.symbols() if symbol not in listed)

    def _log_missing(self) -> None:
        if missing := self.missing():
            log.warning(
                "source '%s' lacks %d members of the universe, and results without those that failed are "
                "flattered: %s",
                *(self.base.name, len(missing), _shown(missing)),
            )


def _shown(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - MAX_SYMBOLS_SHOWN} more" if len(symbols) > MAX_SYMBOLS_SHOWN else ""
    return ", ".join(symbols[:MAX_SYMBOLS_SHOWN]) + more
