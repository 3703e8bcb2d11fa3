"""The market: bars, all symbols at one time, and bars of many symbols as a matrix.

Stored bars have the columns of `BARS_SCHEMA`: one row a symbol and timestamp, sorted by timestamp
and then symbol. `timestamp` is the bar's close in UTC. Prices are as traded and `adjustment` is the
factor to the adjusted price as known then. A close-only source leaves the other columns null.
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
Texts = npt.NDArray[np.object_]
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
PRICE_COLUMNS = ("open", "high", "low", "close")
# Prices of one bar that differ by less, relative to them, are equal but for rounding (float32 has 6e-8).
ROUNDING = 1e-6
# Columns that a table of bars may have besides, like any float64 column: who gave the bar, and whether
# providers disagree about it.
PROVIDER, DISPUTED = "provider", "disputed"
# Under this key a table of bars names the calendar that its days follow, in the metadata of its schema.
CALENDAR = b"alphaloop.calendar"


@dataclass(frozen=True, slots=True)
class Bar:
    """One symbol's bar. The constructor refuses values that no market can print.

    `provider` names the source that it came from; `disputed` marks a bar about which providers disagree
    and nothing could decide.
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
        if self.high is not None and self.low is not None and self.high < self.low * (1 - ROUNDING):
            raise ValueError(f"{self.symbol} at {self.timestamp}: high {self.high} is below low {self.low}")
        if self.volume is not None and not self.volume >= 0:
            raise ValueError(f"{self.symbol} at {self.timestamp}: volume is {self.volume}")


@dataclass(frozen=True, slots=True)
class Slice:
    """All symbols at one timestamp: what the loop is given, bar by bar.

    Arrays are float64 `[symbols]`; NaN where the source has no value. `extra` holds further columns by
    name; `providers` which source each symbol's bar came from, empty where only one is in question;
    `disputed` the symbols about whose bar the providers disagree and nothing could decide.
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
        """Close times adjustment, float64 `[symbols]`: what features see."""
        return self.close * self.adjustment

    def to_table(self) -> pa.Table:
        """This slice as rows of `BARS_SCHEMA`; symbols without a close are left out."""
        return BarPanel.from_slices([self]).to_table()


@dataclass(frozen=True, slots=True)
class BarPanel:
    """Bars of many symbols, aligned: float64 `[timestamps, symbols]`, NaN where there is no value.

    `timestamps` is `datetime64[ns]` in UTC, strictly increasing. `extra` holds further columns of the
    same shape by name. `providers` (text, the same shape) and `disputed` (bool, the same shape) say
    where each bar came from and whether providers disagree about it; None where that is not in question.
    `calendar` is the one that their days follow, empty where it is not known.
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
    providers: Texts | None = None
    disputed: npt.NDArray[np.bool_] | None = None
    calendar: str = ""

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def adjusted_close(self) -> FloatMatrix:
        """Close times adjustment, float64 `[timestamps, symbols]`: what features see."""
        return self.close * self.adjustment

    def column(self, name: str) -> FloatMatrix | None:
        """The column called `name`, of the bars or of `extra`; None where there is none."""
        return getattr(self, name) if name in _VALUE_COLUMNS else self.extra.get(name)

    def at(self, index: int) -> Slice:
        """The bars of one timestamp."""
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
        """The bars, one timestamp after the other."""
        return (self.at(index) for index in range(len(self)))

    def between(self, start: datetime | None = None, end: datetime | None = None) -> BarPanel:
        """The bars with `start <= timestamp <= end`."""
        first = 0 if start is None else int(np.searchsorted(self.timestamps, to_datetime64(start), "left"))
        last = (
            len(self) if end is None else int(np.searchsorted(self.timestamps, to_datetime64(end), "right"))
        )
        return self._take(slice(first, last))

    def part(self, begin: int, end: int) -> BarPanel:
        """The bars at the places `begin` to `end - 1`."""
        return self._take(slice(begin, end))

    def select(self, symbols: tuple[str, ...]) -> BarPanel:
        """The bars of `symbols`, in that order; raises `KeyError` for one that is not here."""
        position = {symbol: column for column, symbol in enumerate(self.symbols)}
        columns = [position[symbol] for symbol in symbols]
        return self._each(lambda values: values[:, columns], self.timestamps, symbols)

    def to_table(self) -> pa.Table:
        """Rows of `BARS_SCHEMA` and of what else is known, sorted by timestamp and symbol.

        Missing closes are left out.
        """
        order = np.argsort(np.array(self.symbols))
        symbols = np.array(self.symbols, dtype=object)[order]
        present = np.isfinite(self.close[:, order]).ravel()

        def rows(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            taken: npt.NDArray[Any] = values[:, order].ravel()[present]
            return taken

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
            table = table.append_column(PROVIDER, pa.array(rows(self.providers), pa.string()))
        if self.disputed is not None:
            table = table.append_column(DISPUTED, pa.array(rows(self.disputed), pa.bool_()))
        for name, values in self.extra.items():
            table = table.append_column(name, pa.array(rows(values), pa.float64(), from_pandas=True))
        return with_calendar(table, self.calendar)

    @classmethod
    def from_table(cls, table: pa.Table, symbols: tuple[str, ...] | None = None) -> BarPanel:
        """Align rows of `BARS_SCHEMA` (in any order); `symbols` fixes the columns and their order.

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

        others = [name for name in table.schema.names if name not in (*BARS_SCHEMA.names, PROVIDER, DISPUTED)]
        return cls(
            timestamps=timestamps,
            symbols=names,
            **{name: aligned(name, np.nan, float) for name in _VALUE_COLUMNS},
            extra={name: aligned(name, np.nan, float) for name in others},
            providers=aligned(PROVIDER, "", object) if PROVIDER in table.schema.names else None,
            disputed=aligned(DISPUTED, False, bool) if DISPUTED in table.schema.names else None,
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
        """These bars, followed by `later` ones of the same symbols.

        What only one side knows is empty in the other.
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
    """`table`, naming the calendar that its days follow; as it is where there is none."""
    if not calendar:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), CALENDAR: calendar.encode()})


def calendar_of(table: pa.Table) -> str:
    """The calendar that a table of bars names; empty where it names none."""
    return str((table.schema.metadata or {}).get(CALENDAR, b""), "utf-8")


def to_datetime(moment: np.datetime64) -> datetime:
    """A numpy timestamp as an aware datetime in UTC, to the microsecond."""
    return moment.astype("datetime64[us]").item().replace(tzinfo=UTC)  # type: ignore[no-any-return]


def to_datetime64(moment: datetime) -> np.datetime64:
    """An aware datetime as `datetime64[ns]` in UTC."""
    return np.datetime64(as_utc(moment).replace(tzinfo=None), "ns")
