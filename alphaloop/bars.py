"""Bars: of one symbol, of all symbols at one time, and over time.

Stored bars have the columns of `BARS_SCHEMA`: one row per symbol and timestamp, sorted by timestamp and then
symbol. `timestamp` is the close of the bar in UTC. Prices are as traded, and `adjustment` is the factor to
the adjusted price as known at that time. A source of closing prices only leaves the other columns null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.clock import as_utc

FloatMatrix = npt.NDArray[np.float64]
TextMatrix = npt.NDArray[np.object_]
Timestamps = npt.NDArray[np.datetime64]

BARS_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("timestamp", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64()),
        pa.field("adjustment", pa.float64(), nullable=False),
    ]
)
"""Arrow schema of stored bars."""
PRICE_COLUMNS = ("open", "high", "low", "close")
PRICE_TOLERANCE = 1e-6
"""Relative difference below which two prices of one bar are equal: rounding (float32 has 6e-8)."""
PROVIDER_COLUMN, DISPUTED_COLUMN = "provider", "disputed"
"""Optional columns of a table of bars.

They hold the source of the bar, and a flag for bars about which the providers disagree.
"""
CALENDAR_KEY = b"alphaloop.calendar"
"""Key of the trading calendar in the metadata of a table's schema."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of one symbol, checked for values that no market can print.

    Parameters
    ----------
    symbol : str
        The symbol.
    timestamp : datetime
        Close of the bar, with a time zone.
    close, open, high, low : float
        Prices as traded; all but `close` may be None.
    volume : float, optional
        Units traded in the bar.
    adjustment : float
        Factor from the traded to the adjusted price, as known at that time.
    provider : str
        Source of the bar; empty where only one source is used.
    disputed : bool
        True if providers disagree about the bar and no rule could decide between them.

    Raises
    ------
    ValueError
        For a timestamp without a time zone, a price that is not positive, a high below the low, or a negative
        volume.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> bar = Bar("AAPL", datetime(2020, 3, 16, 20, tzinfo=UTC), close=242.21, high=259.08, low=240.0)
    >>> bar.close
    242.21
    """

    symbol: str
    timestamp: datetime
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    adjustment: float = 1.0
    provider: str = ""
    disputed: bool = False

    def __post_init__(self) -> None:
        as_utc(self.timestamp)
        for name in PRICE_COLUMNS:
            price = getattr(self, name)
            if price is not None and not (np.isfinite(price) and price > 0):
                raise ValueError(f"{self.symbol} at {self.timestamp}: {name} is {price}; prices are positive")
        if self.high is not None and self.low is not None and self.high < self.low * (1 - PRICE_TOLERANCE):
            raise ValueError(f"{self.symbol} at {self.timestamp}: high {self.high} is below low {self.low}")
        if self.volume is not None and not self.volume >= 0:
            raise ValueError(f"{self.symbol} at {self.timestamp}: volume is {self.volume}")


@dataclass(frozen=True, slots=True)
class Slice:
    """The bars of all symbols at one timestamp.

    The trading loop processes one slice after the other.

    Parameters
    ----------
    timestamp : datetime
        Close of the bars in UTC.
    symbols : tuple of str
        The symbols, in the order of the arrays.
    open, high, low, close, volume, adjustment : ndarray of float64, shape [symbols]
        Values as traded, and the adjustment factor; NaN where the source has no value.
    extra : mapping of str to ndarray of float64, shape [symbols]
        Further columns by name.
    providers : tuple of str
        Source of each symbol's bar; empty where only one source is used.
    disputed : tuple of str
        Symbols about whose bar the providers disagree without a decision.
    """

    timestamp: datetime
    symbols: tuple[str, ...]
    open: FloatMatrix
    high: FloatMatrix
    low: FloatMatrix
    close: FloatMatrix
    volume: FloatMatrix
    adjustment: FloatMatrix
    extra: Mapping[str, FloatMatrix] = field(default_factory=dict)
    providers: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()

    @property
    def adjusted_close(self) -> FloatMatrix:
        """Close times adjustment, float64 `[symbols]`: the price that features use."""
        return self.close * self.adjustment

    def to_table(self) -> pa.Table:
        """Convert to rows of `BARS_SCHEMA`; symbols without a close are left out."""
        return BarPanel.from_slices([self]).to_table()


@dataclass(frozen=True, slots=True)
class BarPanel:
    """Bars of many symbols on common timestamps, as matrices.

    Parameters
    ----------
    timestamps : ndarray of datetime64[ns], shape [timestamps]
        Closes of the bars in UTC, strictly increasing.
    symbols : tuple of str
        The symbols, in the order of the columns.
    open, high, low, close, volume, adjustment : ndarray of float64, shape [timestamps, symbols]
        Values as traded, and the adjustment factor; NaN where there is no value.
    extra : mapping of str to ndarray of float64, shape [timestamps, symbols]
        Further columns by name.
    providers : ndarray of object (str), shape [timestamps, symbols], optional
        Source of each bar; None where only one source is used.
    disputed : ndarray of bool, shape [timestamps, symbols], optional
        Bars about which the providers disagree; None where only one source is used.
    calendar : str
        Trading calendar that the days follow; empty where it is not known.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    open: FloatMatrix
    high: FloatMatrix
    low: FloatMatrix
    close: FloatMatrix
    volume: FloatMatrix
    adjustment: FloatMatrix
    extra: Mapping[str, FloatMatrix] = field(default_factory=dict)
    providers: TextMatrix | None = None
    disputed: npt.NDArray[np.bool_] | None = None
    calendar: str = ""

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def adjusted_close(self) -> FloatMatrix:
        """Close times adjustment, float64 `[timestamps, symbols]`: the price that features use."""
        return self.close * self.adjustment

    def column(self, name: str) -> FloatMatrix | None:
        """Return the column `name` of the bars or of `extra`; None where there is none."""
        return getattr(self, name) if name in _VALUE_COLUMNS else self.extra.get(name)

    def at(self, index: int) -> Slice:
        """Return the bars of the timestamp at `index`."""
        symbols = np.array(self.symbols, dtype=object)
        return Slice(
            timestamp=to_datetime(self.timestamps[index]),
            symbols=self.symbols,
            **{name: getattr(self, name)[index] for name in _VALUE_COLUMNS},
            extra={name: values[index] for name, values in self.extra.items()},
            providers=() if self.providers is None else tuple(self.providers[index]),
            disputed=() if self.disputed is None else tuple(symbols[self.disputed[index]]),
        )

    def slices(self) -> Iterator[Slice]:
        """Iterate over the bars, one timestamp after the other."""
        return (self.at(index) for index in range(len(self)))

    def between(self, start: datetime | None = None, end: datetime | None = None) -> BarPanel:
        """Select the bars with `start <= timestamp <= end`."""
        first = 0 if start is None else int(np.searchsorted(self.timestamps, to_datetime64(start), "left"))
        last = (
            len(self) if end is None else int(np.searchsorted(self.timestamps, to_datetime64(end), "right"))
        )
        return self._take(slice(first, last))

    def part(self, begin: int, end: int) -> BarPanel:
        """Select the bars at the indices `begin` to `end - 1`."""
        return self._take(slice(begin, end))

    def select(self, symbols: tuple[str, ...]) -> BarPanel:
        """Select `symbols`, in that order; raise `KeyError` for a symbol that is missing."""
        position = {symbol: column for column, symbol in enumerate(self.symbols)}
        columns = [position[symbol] for symbol in symbols]
        return self._each(lambda values: values[:, columns], self.timestamps, symbols)

    def to_table(self) -> pa.Table:
        """Convert to rows of `BARS_SCHEMA` with all further columns, sorted by timestamp and symbol.

        Rows without a close are left out.
        """
        order = np.argsort(np.array(self.symbols))
        symbols = np.array(self.symbols, dtype=object)[order]
        present = np.isfinite(self.close[:, order]).ravel()

        def rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            selected: npt.NDArray[Any] = values[:, order].ravel()[present]
            return selected

        columns: dict[str, pa.Array] = {
            "symbol": pa.array(np.tile(symbols, len(self))[present], pa.string()),
            "timestamp": pa.array(
                np.repeat(self.timestamps.astype("datetime64[ns]"), len(symbols))[present],
                pa.timestamp("ns", tz="UTC"),
            ),
        }
        for name in _VALUE_COLUMNS:
            columns[name] = pa.array(rows(getattr(self, name)), pa.float64(), from_pandas=True)
        table = pa.table(columns, schema=BARS_SCHEMA)
        if self.providers is not None:
            table = table.append_column(PROVIDER_COLUMN, pa.array(rows(self.providers), pa.string()))
        if self.disputed is not None:
            table = table.append_column(DISPUTED_COLUMN, pa.array(rows(self.disputed), pa.bool_()))
        for name, values in self.extra.items():
            table = table.append_column(name, pa.array(rows(values), pa.float64(), from_pandas=True))
        return with_calendar(table, self.calendar)

    @classmethod
    def from_table(cls, table: pa.Table, symbols: tuple[str, ...] | None = None) -> BarPanel:
        """Align rows of `BARS_SCHEMA`, in any order; `symbols` fixes the columns and their order.

        Columns beyond the schema become `providers`, `disputed` and `extra`.
        """
        row_symbols = table["symbol"].to_numpy(zero_copy_only=False)
        row_times = table["timestamp"].to_numpy().astype("datetime64[ns]")
        names = symbols or tuple(sorted(set(row_symbols)))
        timestamps, rows = np.unique(row_times, return_inverse=True)
        position = {name: index for index, name in enumerate(names)}
        columns = np.array([position.get(name, -1) for name in row_symbols], dtype=np.intp)
        known = columns >= 0

        def aligned(name: str, absent: Any, kind: type) -> npt.NDArray[Any]:
            matrix: npt.NDArray[Any] = np.full((len(timestamps), len(names)), absent, dtype=kind)
            matrix[rows[known], columns[known]] = table[name].to_numpy(zero_copy_only=False)[known]
            return matrix

        others = [
            name
            for name in table.schema.names
            if name not in (*BARS_SCHEMA.names, PROVIDER_COLUMN, DISPUTED_COLUMN)
        ]
        return cls(
            timestamps=timestamps,
            symbols=names,
            **{name: aligned(name, np.nan, float) for name in _VALUE_COLUMNS},
            extra={name: aligned(name, np.nan, float) for name in others},
            providers=aligned(PROVIDER_COLUMN, "", object) if PROVIDER_COLUMN in table.schema.names else None,
            disputed=aligned(DISPUTED_COLUMN, False, bool) if DISPUTED_COLUMN in table.schema.names else None,
            calendar=calendar_of(table),
        )

    @classmethod
    def from_slices(cls, slices: list[Slice]) -> BarPanel:
        """Stack slices of the same symbols and columns."""
        symbols = slices[0].symbols
        providers = [one.providers or ("",) * len(symbols) for one in slices]
        disputed = [[symbol in one.disputed for symbol in symbols] for one in slices]
        return cls(
            timestamps=np.array([to_datetime64(one.timestamp) for one in slices], dtype="datetime64[ns]"),
            symbols=symbols,
            **{name: np.stack([getattr(one, name) for one in slices]) for name in _VALUE_COLUMNS},
            extra={name: np.stack([one.extra[name] for one in slices]) for name in slices[0].extra},
            providers=np.array(providers, dtype=object) if any(one.providers for one in slices) else None,
            disputed=np.array(disputed, dtype=bool) if any(one.disputed for one in slices) else None,
            calendar="",
        )

    def then(self, later: BarPanel) -> BarPanel:
        """Append `later` bars of the same symbols.

        A column that only one of the two panels has is empty in the rows of the other.
        """
        sides = (self, later)

        def joined(values: list[npt.NDArray[Any] | None], absent: Any) -> npt.NDArray[Any]:
            return np.concatenate(
                [
                    np.full(side.close.shape, absent) if one is None else one
                    for side, one in zip(sides, values, strict=True)
                ]
            )

        names = list(dict.fromkeys((*self.extra, *later.extra)))
        known = self.providers is not None or later.providers is not None
        doubted = self.disputed is not None or later.disputed is not None
        return BarPanel(
            timestamps=np.concatenate([self.timestamps, later.timestamps]),
            symbols=self.symbols,
            **{name: joined([getattr(side, name) for side in sides], np.nan) for name in _VALUE_COLUMNS},
            extra={name: joined([side.extra.get(name) for side in sides], np.nan) for name in names},
            providers=joined([side.providers for side in sides], "").astype(object) if known else None,
            disputed=joined([side.disputed for side in sides], False) if doubted else None,
            calendar=self.calendar or later.calendar,
        )

    def _take(self, rows: slice) -> BarPanel:
        return self._each(lambda values: values[rows], self.timestamps[rows], self.symbols)

    def _each(
        self,
        taken: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
        timestamps: Timestamps,
        symbols: tuple[str, ...],
    ) -> BarPanel:
        return BarPanel(
            timestamps=timestamps,
            symbols=symbols,
            **{name: taken(getattr(self, name)) for name in _VALUE_COLUMNS},
            extra={name: taken(values) for name, values in self.extra.items()},
            providers=None if self.providers is None else taken(self.providers),
            disputed=None if self.disputed is None else taken(self.disputed),
            calendar=self.calendar,
        )


_VALUE_COLUMNS = ("open", "high", "low", "close", "volume", "adjustment")


def with_calendar(table: pa.Table, calendar: str) -> pa.Table:
    """Name the trading calendar in the table's metadata; an empty name changes nothing."""
    if not calendar:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), CALENDAR_KEY: calendar.encode()})


def calendar_of(table: pa.Table) -> str:
    """Return the trading calendar that a table of bars names; empty where it names none."""
    return str((table.schema.metadata or {}).get(CALENDAR_KEY, b""), "utf-8")


def to_datetime(moment: np.datetime64) -> datetime:
    """Convert a numpy timestamp to an aware datetime in UTC, to the microsecond."""
    return moment.astype("datetime64[us]").item().replace(tzinfo=UTC)  # type: ignore[no-any-return]


def to_datetime64(moment: datetime) -> np.datetime64:
    """Convert an aware datetime to `datetime64[ns]` in UTC."""
    return np.datetime64(as_utc(moment).replace(tzinfo=None), "ns")
