"""Records that a workspace attaches to its bars: corporate actions, members, sectors, external series.

Corporate actions become the adjustment of the bars, everything else a column, with the value that was known
at the bar's close. So they are stored with the bars, and training, serving, trading and replay all read the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.bars import FloatMatrix, Slice, Timestamps, to_datetime64
from alphaloop.errors import DataError
from alphaloop.universe_mask import MEMBER_COLUMN
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.adjusted_rows import adjust_rows, delisted_from
from marketdata.point_in_time.external_series import ExternalSeries
from marketdata.point_in_time.membership import MembershipHistory
from marketdata.point_in_time.universe import Universe

SECTOR_COLUMN = "sector"


@dataclass(frozen=True)
class PointInTimeRecords:
    """Records of the symbols besides their bars, as known at each time.

    Parameters
    ----------
    universe
        Members of the universe; None for a universe that never changes.
    sectors
        Sector of each symbol; None where sectors are not known.
    series
        External series; None where there are none.
    actions
        Corporate actions, for bars as traded; symbols that are delisted are no members from then on.
    identity
        Name of these records, which is part of the identity of a source that has them.
    digests
        SHA-256 of each file of records, by the name of its setting.
    """

    universe: Universe | None = None
    sectors: MembershipHistory | None = None
    series: ExternalSeries | None = None
    actions: tuple[CorporateAction, ...] = ()
    identity: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def annotate_table(self, table: pa.Table) -> pa.Table:
        """Adjust rows of bars by the corporate actions, and add the columns.

        Parameters
        ----------
        table
            Rows of `alphaloop.bars.BARS_SCHEMA`, in any order.

        Returns
        -------
        pyarrow.Table
            The same rows, and the final bars of delisted symbols, with the columns `member`, `sector` and one
            for each external series, as far as there are such records; float64.

        Raises
        ------
        DataError
            For bars that have such a column already, for a symbol in two sectors at once, and for corporate
            actions that do not fit the bars (`marketdata.point_in_time.adjusted_rows`).
        """
        if self.actions:
            try:
                table = adjust_rows(table, self.actions)
            except DataError as error:
                raise DataError(f"data.actions: {error}") from error
        row_symbols = table["symbol"].to_numpy(zero_copy_only=False)
        row_times = table["timestamp"].to_numpy().astype("datetime64[ns]")
        symbols, columns = np.unique(row_symbols.astype(str), return_inverse=True)
        times, rows = np.unique(row_times, return_inverse=True)
        for name, values in self._columns(times, tuple(symbols.tolist())).items():
            if name in table.schema.names:
                raise DataError(
                    f"the bars have a column '{name}' already; leave it out of the source, or the records "
                    "out of the settings"
                )
            cells = pa.array(values[rows, columns], pa.float64(), from_pandas=True)
            table = table.append_column(name, cells)
        return table

    def annotate_slice(self, bars: Slice) -> Slice:
        """Add the columns to the bars of one timestamp; NaN for a symbol without a bar."""
        times = np.array([to_datetime64(bars.timestamp)], dtype="datetime64[ns]")
        absent = ~np.isfinite(bars.close)
        extra = {
            name: np.where(absent, np.nan, values[0])
            for name, values in self._columns(times, bars.symbols).items()
        }
        return replace(bars, extra={**bars.extra, **extra}) if extra else bars

    def _columns(self, times: Timestamps, symbols: tuple[str, ...]) -> dict[str, FloatMatrix]:
        """Return each column at the closes `times`, sorted, `[T, N]`."""
        columns: dict[str, FloatMatrix] = {}
        gone = delisted_from(self.actions)
        if self.universe is not None or gone:
            member = np.ones((len(times), len(symbols)), dtype=bool)
            if self.universe is not None:
                member = self.universe.memberships.mask(times, symbols, self.universe.name)
            for column, symbol in enumerate(symbols):
                if symbol in gone:
                    member[times >= to_datetime64(gone[symbol]), column] = False
            columns[MEMBER_COLUMN] = member.astype(np.float64)
        if self.sectors is not None:
            columns[SECTOR_COLUMN] = self.sectors.codes(times, symbols)
        if self.series is not None:
            present: npt.NDArray[Any] = np.ones((len(times), len(symbols)), dtype=bool)
            columns |= self.series.at(times.astype(np.int64), symbols, present)
        return columns
