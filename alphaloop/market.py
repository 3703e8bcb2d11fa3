"""The market: bars, instruments, and bars of many symbols as a matrix.

Stored bars have the columns of `BARS_SCHEMA`: one row a symbol and timestamp, sorted by timestamp
and then symbol. `timestamp` is the bar's close in UTC. Prices are as traded and `adjustment` is the
factor to the adjusted price as known then. A close-only source leaves the other columns null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.clock import as_utc

FloatMatrix = npt.NDArray[np.float64]
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


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded: its price step, its smallest quantity and its currency."""

    symbol: str
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.0001")
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Bar:
    """One symbol's bar. The constructor refuses values that no market can print."""

    symbol: str
    timestamp: datetime
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    adjustment: float = 1.0

    def __post_init__(self) -> None:
        as_utc(self.timestamp)
        for name in PRICE_COLUMNS:
            price = getattr(self, name)
            if price is not None and not (np.isfinite(price) and price > 0):
                raise ValueError(f"{self.symbol} at {self.timestamp}: {name} is {price}; prices are positive")
        if self.high is not None and self.low is not None and self.high < self.low:
            raise ValueError(f"{self.symbol} at {self.timestamp}: high {self.high} is below low {self.low}")
        if self.volume is not None and not self.volume >= 0:
            raise ValueError(f"{self.symbol} at {self.timestamp}: volume is {self.volume}")


@dataclass(frozen=True, slots=True)
class Slice:
    """All symbols at one timestamp: what the loop is given, bar by bar.

    Arrays are float64 `[symbols]`; NaN where the source has no value.
    """

    timestamp: datetime
    symbols: tuple[str, ...]
    open: FloatMatrix
    high: FloatMatrix
    low: FloatMatrix
    close: FloatMatrix
    volume: FloatMatrix
    adjustment: FloatMatrix

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

    `timestamps` is `datetime64[ns]` in UTC, strictly increasing.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    open: FloatMatrix
    high: FloatMatrix
    low: FloatMatrix
    close: FloatMatrix
    volume: FloatMatrix
    adjustment: FloatMatrix

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def adjusted_close(self) -> FloatMatrix:
        """Close times adjustment, float64 `[timestamps, symbols]`: what features see."""
        return self.close * self.adjustment

    def at(self, index: int) -> Slice:
        """The bars of one timestamp."""
        return Slice(
            timestamp=to_datetime(self.timestamps[index]),
            symbols=self.symbols,
            **{name: getattr(self, name)[index] for name in _VALUE_COLUMNS},
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

    def select(self, symbols: tuple[str, ...]) -> BarPanel:
        """The bars of `symbols`, in that order; raises `KeyError` for one that is not here."""
        columns = [self.symbols.index(symbol) for symbol in symbols]
        return BarPanel(
            timestamps=self.timestamps,
            symbols=symbols,
            **{name: getattr(self, name)[:, columns] for name in _VALUE_COLUMNS},
        )

    def to_table(self) -> pa.Table:
        """Rows of `BARS_SCHEMA`, sorted by timestamp and symbol; missing closes are left out."""
        order = np.argsort(np.array(self.symbols))
        symbols = np.array(self.symbols, dtype=object)[order]
        present = np.isfinite(self.close[:, order]).ravel()
        columns: dict[str, pa.Array] = {
            "symbol": pa.array(np.tile(symbols, len(self))[present], pa.string()),
            "timestamp": pa.array(
                np.repeat(self.timestamps.astype("datetime64[ns]"), len(symbols))[present],
                pa.timestamp("ns", tz="UTC"),
            ),
        }
        for name in _VALUE_COLUMNS:
            values = getattr(self, name)[:, order].ravel()[present]
            columns[name] = pa.array(values, pa.float64(), from_pandas=True)
        return pa.table(columns, schema=BARS_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table, symbols: tuple[str, ...] | None = None) -> BarPanel:
        """Align rows of `BARS_SCHEMA` (in any order); `symbols` fixes the columns and their order."""
        row_symbols = table["symbol"].to_numpy(zero_copy_only=False)
        row_times = table["timestamp"].to_numpy().astype("datetime64[ns]")
        names = symbols or tuple(sorted(set(row_symbols)))
        timestamps, rows = np.unique(row_times, return_inverse=True)
        position = {name: index for index, name in enumerate(names)}
        columns = np.array([position.get(name, -1) for name in row_symbols], dtype=np.intp)
        known = columns >= 0
        values = {}
        for name in _VALUE_COLUMNS:
            matrix = np.full((len(timestamps), len(names)), np.nan)
            matrix[rows[known], columns[known]] = table[name].to_numpy(zero_copy_only=False)[known]
            values[name] = matrix
        return cls(timestamps=timestamps, symbols=names, **values)

    @classmethod
    def from_slices(cls, slices: list[Slice]) -> BarPanel:
        """Stack slices of the same symbols."""
        return cls(
            timestamps=np.array([to_datetime64(one.timestamp) for one in slices], dtype="datetime64[ns]"),
            symbols=slices[0].symbols,
            **{name: np.stack([getattr(one, name) for one in slices]) for name in _VALUE_COLUMNS},
        )

    def _take(self, rows: slice) -> BarPanel:
        return BarPanel(
            timestamps=self.timestamps[rows],
            symbols=self.symbols,
            **{name: getattr(self, name)[rows] for name in _VALUE_COLUMNS},
        )


_VALUE_COLUMNS = ("open", "high", "low", "close", "volume", "adjustment")


def to_datetime(moment: np.datetime64) -> datetime:
    """A numpy timestamp as an aware datetime in UTC, to the microsecond."""
    from datetime import UTC

    return moment.astype("datetime64[us]").item().replace(tzinfo=UTC)  # type: ignore[no-any-return]


def to_datetime64(moment: datetime) -> np.datetime64:
    """An aware datetime as `datetime64[ns]` in UTC."""
    return np.datetime64(as_utc(moment).replace(tzinfo=None), "ns")
