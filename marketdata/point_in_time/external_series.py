"""External series, joined to bars as of the time of their *publication*.

At a bar that closes at t, the value of a series is the observation with the latest `effective` among those
published at or before t, in its latest version. So a revision counts from its publication on, never before;
and a revision of an older period does not displace the value of a newer one. Only bars that a symbol has
receive values. An observation published longer than `max_age` ago is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BARS_SCHEMA, BarPanel, FloatMatrix
from alphaloop.errors import InputError, UnknownNameError
from marketdata.point_in_time.observations import normalise_observations

Nanoseconds = npt.NDArray[np.int64]
_ALL = ""


def attach_series(
    bars: BarPanel, observations: pa.Table, columns: Sequence[str] = (), max_age: timedelta | None = None
) -> BarPanel:
    """Add external series to the extra columns of a panel.

    Parameters
    ----------
    bars
        Panel of T bars and N symbols.
    observations
        Table with the columns that `marketdata.point_in_time.observations.read_observations` returns.
    columns
        Names of the series; all of them if none are named.
    max_age
        Longest time span since an observation's publication; older values are NaN. None for no limit.

    Returns
    -------
    BarPanel
        `bars` with one more extra column a series, float64 [T, N].

    Raises
    ------
    UnknownNameError
        For a series that is not among the observations.
    InputError
        For a series with the name of a column of the bars, or a `max_age` that is not positive.
    DataError
        For invalid observations.
    """
    rows = normalise_observations(observations)
    named = set(rows["series"].to_pylist())
    for name in columns:
        if name not in named:
            raise UnknownNameError("series", name, named, where="the observations")
    series = ExternalSeries(rows, tuple(columns), max_age)
    series.require_free((*BARS_SCHEMA.names, *bars.extra))
    times = np.asarray(bars.timestamps, dtype="datetime64[ns]").astype(np.int64)
    values = series.at(times, bars.symbols, np.isfinite(bars.close))
    return replace(bars, extra={**bars.extra, **values})


@dataclass(frozen=True, slots=True)
class _SymbolSeries:
    """One series of one symbol: its value from each publication on."""

    published: Nanoseconds
    values: FloatMatrix

    @classmethod
    def of(cls, rows: pa.Table) -> _SymbolSeries:
        published = rows["published"].to_numpy().astype("datetime64[ns]").astype(np.int64)
        effective = rows["effective"].to_numpy().astype("datetime64[ns]").astype(np.int64)
        order = np.lexsort((effective, published))
        published, effective = published[order], effective[order]
        values = rows["value"].to_numpy(zero_copy_only=False).astype(np.float64)[order]
        # An observation of an older period than the newest known one changes nothing.
        news = effective >= np.maximum.accumulate(effective)
        return cls(published[news], values[news])

    def at(self, times: Nanoseconds, max_age: int | None) -> FloatMatrix:
        """Return the values known at `times`, `[T]`; NaN before the first and where too old."""
        index = np.searchsorted(self.published, times, "right") - 1
        values = np.full(len(times), np.nan)
        usable = index >= 0
        if max_age is not None:
            usable &= times - self.published[np.maximum(index, 0)] <= max_age
        values[usable] = self.values[index[usable]]
        return values


class ExternalSeries:
    """The requested series, by name and symbol.

    Parameters
    ----------
    observations
        Table of `marketdata.point_in_time.observations.OBSERVATIONS_SCHEMA`.
    columns
        Names of the series; all of them if none are named.
    max_age
        Longest time since an observation's publication; None for no limit.

    Raises
    ------
    InputError
        For a `max_age` that is not positive.
    """

    def __init__(self, observations: pa.Table, columns: tuple[str, ...], max_age: timedelta | None) -> None:
        if max_age is not None and max_age <= timedelta(0):
            raise InputError(f"max_age is {max_age}; it must be above 0")
        self.columns = columns or tuple(sorted(set(observations["series"].to_pylist())))
        self._max_age = None if max_age is None else int(np.timedelta64(max_age, "ns").astype(np.int64))
        names = pa.array(list(self.columns), pa.string())
        rows = observations.filter(pc.is_in(observations["series"], value_set=names))
        self._known: dict[tuple[str, str], _SymbolSeries] = {}
        for group in rows.group_by(["series", "symbol"]).aggregate([]).to_pylist():
            series, symbol = group["series"], group["symbol"]
            same = pc.and_(pc.equal(rows["series"], series), pc.equal(rows["symbol"], symbol))
            self._known[series, symbol] = _SymbolSeries.of(rows.filter(same))

    def require_free(self, taken: Sequence[str]) -> None:
        """Raise `InputError` for a series with the name of a column."""
        for name in self.columns:
            if name in taken:
                raise InputError(f"the series '{name}' is called like a column of the bars; rename it")

    def at(
        self, times: Nanoseconds, symbols: tuple[str, ...], has_bar: npt.NDArray[np.bool_]
    ) -> dict[str, FloatMatrix]:
        """Return each column at each time and symbol, `[T, N]`; NaN where a symbol has no bar."""
        columns = {}
        for name in self.columns:
            values = np.full(has_bar.shape, np.nan)
            common = self._known.get((name, _ALL))
            if common is not None:
                values[:] = common.at(times, self._max_age)[:, None]
            for column, symbol in enumerate(symbols):
                known = self._known.get((name, symbol))
                if known is not None:
                    values[:, column] = known.at(times, self._max_age)
            columns[name] = np.where(has_bar, values, np.nan)
        return columns
