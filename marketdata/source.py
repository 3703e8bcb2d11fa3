"""What a source of market data offers: the interface behind which every venue sits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BARS_SCHEMA, Bar, BarPanel, FloatMatrix, Timestamps
from alphaloop.errors import DataError, InputError, UnknownNameError

# One of `marketdata.calendars.CALENDARS`, or an exchange's market identifier code.
CalendarName = str


class Source(Protocol):
    """A venue, a vendor or a file that gives bars.

    `calendar` says when its market is open. `adjusted_only` marks a source without prices as traded:
    whatever is ordered on its prices is simulated. One with options that change its bars also has an
    `identity`, see `identity_of`.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def description(self) -> str:
        """One line: what it holds and where that comes from."""
        ...

    @property
    def calendar(self) -> CalendarName:
        """The calendar that its bars follow."""
        ...

    @property
    def adjusted_only(self) -> bool:
        """Whether its prices are adjusted ones only."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Every symbol it has, sorted; empty where the venue has more than it can list."""
        ...

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Bars with `start <= timestamp <= end` as a table of `alphaloop.bars.BARS_SCHEMA`.

        Raises `UnknownNameError` for a symbol it lacks and `DataError` for a frequency it lacks.
        """
        ...


class LiveSource(Source, Protocol):
    """A source that also tells of bars as they close."""

    def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        """Closed bars of `symbols`, each symbol's in order and each once, with `provider` set.

        A dropped connection is opened again, and what was missed is filled in from `history` before it
        goes on. A malformed message is counted, logged and skipped. Ends when it is closed, or with
        `VendorError` for what trying again cannot mend.
        """
        ...


def is_live(source: Source) -> TypeGuard[LiveSource]:
    """Whether a source tells of bars as they close."""
    return hasattr(source, "stream")


def identity_of(source: Source) -> str:
    """The name under which a source's snapshots are kept: the source with the options that change its bars.

    It is the source's own `identity` where it has one, else its name. Bars of two identities are never
    joined.
    """
    return str(getattr(source, "identity", source.name))


def stated_frequency(source: Source) -> str:
    """The frequency that was stated of the source's bars, as 1h; empty where none was."""
    return str(getattr(source, "stated_frequency", ""))


def require_symbols(source: Source, symbols: Sequence[str]) -> tuple[str, ...]:
    """`symbols` as a tuple, or every symbol if there are none; `UnknownNameError` for a strange one.

    A source that cannot list its symbols is believed to have each: `history` asks the venue. There the
    caller names them; `InputError` if none is named.
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


def select(
    table: pa.Table, symbols: Sequence[str], start: datetime | None = None, end: datetime | None = None
) -> pa.Table:
    """The rows of `symbols` between `start` and `end`, both included, in the order they have."""
    keep = pc.is_in(table["symbol"], value_set=pa.array(list(symbols), pa.string()))
    kind = table.schema.field("timestamp").type
    if start is not None:
        keep = pc.and_(keep, pc.greater_equal(table["timestamp"], pa.scalar(start, kind)))
    if end is not None:
        keep = pc.and_(keep, pc.less_equal(table["timestamp"], pa.scalar(end, kind)))
    return table.filter(keep)


def bars_table(symbol: str, timestamps: Timestamps, columns: Mapping[str, FloatMatrix]) -> pa.Table:
    """One symbol's rows of `BARS_SCHEMA`; `columns` float64 `[T]` by name, NaN where there is no value."""
    arrays = {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}
    arrays["symbol"] = pa.array([symbol] * len(timestamps), pa.string())
    arrays["timestamp"] = pa.array(timestamps, pa.timestamp("ns", tz="UTC"))
    return pa.table([arrays[name] for name in BARS_SCHEMA.names], schema=BARS_SCHEMA)


def close_only(timestamps: Timestamps, symbols: tuple[str, ...], close: FloatMatrix) -> BarPanel:
    """A panel of closes `[T, N]` with nothing else known of the bars."""
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
