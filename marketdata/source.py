"""The interface of a source of market data, and helpers to write one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BARS_SCHEMA, Bar, BarPanel, FloatMatrix, Timestamps
from alphaloop.errors import DataError, InputError, UnknownNameError

# One of `marketdata.calendars.CALENDARS`, or the market identifier code (ISO 10383) of an exchange.
CalendarName = str


class Source(Protocol):
    """A venue, a vendor or a file that provides bars.

    `calendar` says when the market is open. `adjusted_only` marks a source without prices as traded: orders
    that are priced from such a source are simulated. A source with options that change its bars also has an
    attribute `identity`, see `identity_of`; a source with a stream is a `LiveSource`.

    A module in `marketdata/sources/` that defines an object of this protocol as `SOURCE` adds a source.
    """

    @property
    def name(self) -> str:
        """Name of the source on the command line."""
        ...

    @property
    def description(self) -> str:
        """One line on the data and its origin."""
        ...

    @property
    def calendar(self) -> CalendarName:
        """Calendar of the bars."""
        ...

    @property
    def adjusted_only(self) -> bool:
        """True if the source has adjusted prices only."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol, sorted; empty where the venue has more than it can list."""
        ...

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return bars with `start <= timestamp <= end`.

        Parameters
        ----------
        symbols
            Symbols to return; an empty sequence stands for all, where the source can list them.
        start, end
            First and last close, aware, both included; None for no limit.
        frequency
            Length of a bar, as `1m`, `4h`, `1d` or `1w`.

        Returns
        -------
        pyarrow.Table
            Rows of `alphaloop.bars.BARS_SCHEMA`.

        Raises
        ------
        UnknownNameError
            For a symbol that the source lacks.
        DataError
            For a frequency that the source lacks.
        """
        ...


class LiveSource(Source, Protocol):
    """A source that also streams bars as they close."""

    def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        """Yield closed bars of `symbols`, each symbol's in order and each once.

        Every bar has `provider` set. After a dropped connection the stream reconnects and fills in the missed
        bars from `history` before it continues. A malformed message is counted, logged and skipped. The
        stream ends when it is closed.

        Parameters
        ----------
        symbols
            Symbols to stream.
        frequency
            Length of a bar, as `1m`.

        Yields
        ------
        Bar
            A closed bar, stamped with its close in UTC.

        Raises
        ------
        VendorError
            For a failure that another attempt cannot mend.
        """
        ...


def is_live(source: Source) -> TypeGuard[LiveSource]:
    """Return True for a source with a stream of closed bars."""
    return hasattr(source, "stream")


def identity_of(source: Source) -> str:
    """Return the name under which the snapshots of a source are kept.

    The name covers the source and the options that change its bars: the attribute `identity` where the source
    has one, else its name. Bars of two identities are never joined.
    """
    return str(getattr(source, "identity", source.name))


def stated_frequency(source: Source) -> str:
    """Return the frequency that the user stated for the source's bars, as 1h; empty if none."""
    return str(getattr(source, "stated_frequency", ""))


def record_digests(source: Source) -> Mapping[str, str]:
    """Return the digests of the files of records whose content is in the source's bars, by setting."""
    records = getattr(source, "records", None)
    return {} if records is None else records.digests


def require_symbols(source: Source, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return `symbols` as a tuple, or every symbol of the source if there are none.

    A source that cannot list its symbols is assumed to have each, and `history` asks the venue.

    Raises
    ------
    UnknownNameError
        For a symbol that the source does not list.
    InputError
        If no symbol is named and the source cannot list its symbols.
    """
    known = source.symbols()
    if not known and not symbols:
        raise InputError(
            f"source '{source.name}' has more symbols than it can list; name the ones you want, with "
            "--symbols or in the setting data.symbols"
        )
    if known:
        for symbol in symbols:
            if symbol not in known:
                raise UnknownNameError("symbol", symbol, known, where=f"source '{source.name}'")
    return tuple(symbols) or known


def require_frequency(source: Source, frequency: str, available: Sequence[str] = ("1d",)) -> None:
    """Raise `DataError` unless the source has bars of this frequency."""
    if frequency not in available:
        raise DataError(
            f"source '{source.name}' has no bars of frequency '{frequency}'; it has: {', '.join(available)}"
        )


def select_bars(
    table: pa.Table, symbols: Sequence[str], start: datetime | None = None, end: datetime | None = None
) -> pa.Table:
    """Return the rows of `symbols` between `start` and `end`, both included, in their order."""
    keep = pc.is_in(table["symbol"], value_set=pa.array(list(symbols), pa.string()))
    kind = table.schema.field("timestamp").type
    if start is not None:
        keep = pc.and_(keep, pc.greater_equal(table["timestamp"], pa.scalar(start, kind)))
    if end is not None:
        keep = pc.and_(keep, pc.less_equal(table["timestamp"], pa.scalar(end, kind)))
    return table.filter(keep)


def bars_table(symbol: str, timestamps: Timestamps, columns: Mapping[str, FloatMatrix]) -> pa.Table:
    """Build one symbol's table of bars.

    Parameters
    ----------
    symbol
        Symbol of all rows.
    timestamps
        Closes in UTC, datetime64[ns] of shape [T].
    columns
        Every other column of `BARS_SCHEMA` by name, float64 of shape [T]; NaN where a value is unknown.

    Returns
    -------
    pyarrow.Table
        T rows of `alphaloop.bars.BARS_SCHEMA`.
    """
    arrays = {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}
    arrays["symbol"] = pa.array([symbol] * len(timestamps), pa.string())
    arrays["timestamp"] = pa.array(timestamps, pa.timestamp("ns", tz="UTC"))
    return pa.table([arrays[name] for name in BARS_SCHEMA.names], schema=BARS_SCHEMA)


def close_only_panel(timestamps: Timestamps, symbols: tuple[str, ...], close: FloatMatrix) -> BarPanel:
    """Build a panel of closes; every other column is NaN and the adjustment 1.

    Parameters
    ----------
    timestamps
        Closing times in UTC, datetime64[ns] of shape [T].
    symbols
        N symbols.
    close
        Prices, float64 of shape [T, N].
    """
    absent = np.full(close.shape, np.nan)
    return BarPanel(
        timestamps=timestamps,
        symbols=symbols,
        open=absent,
        high=absent,
        low=absent,
        close=close,
        volume=absent,
        adjustment=np.ones(close.shape),
    )
