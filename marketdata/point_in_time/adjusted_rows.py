"""Rows of bars, adjusted by corporate actions as they were known at each bar, and closed by a delisting.

A factor counts from the first bar at which its action was both effective and published, and changes no bar
before. An action that is published late, or revised, therefore changes the adjustment from its publication
on.

A delisting closes a symbol's series with bars at the price that holders received: the first brings the
delisting return, the position is sold at the second, and labels that reach beyond the last trade end on the
others. Without them, the losses of those that failed are in no book and in no label (Shumway 1997, "The
Delisting Bias in CRSP Data", Journal of Finance 52).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.bars import PRICE_COLUMNS, FloatMatrix, Timestamps, to_datetime64
from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from marketdata.point_in_time.action_record import MICROSECOND, CorporateAction
from marketdata.point_in_time.corporate_actions import actions_known_at, adjustment_of

FINAL_BARS = 21
"""Bars at the final price that follow a delisting: a month of sessions."""
MIN_FINAL_SHARE = 1e-4
"""Smallest final price, as a share of the last close: prices are above 0."""
_ALWAYS = datetime.max.replace(tzinfo=UTC)


def adjust_rows(table: pa.Table, actions: Sequence[CorporateAction]) -> pa.Table:
    """Set the adjustment of rows of bars as traded, and add the final bars of delisted symbols.

    Parameters
    ----------
    table
        Rows of `alphaloop.bars.BARS_SCHEMA` with an adjustment of 1 throughout, in any order.
    actions
        Corporate actions of any symbols, in any order.

    Returns
    -------
    pyarrow.Table
        The same rows with their adjustment; with final bars, sorted by timestamp and symbol.

    Raises
    ------
    DataError
        For bars that are adjusted already, a distribution that is not below the price, contradictory actions
        and a change of symbol.
    """
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    times = table["timestamp"].to_numpy().astype("datetime64[ns]")
    close = table["close"].to_numpy(zero_copy_only=False).astype(np.float64)
    adjustment = table["adjustment"].to_numpy(zero_copy_only=False).astype(np.float64).copy()
    market, final = np.unique(times), []
    by_symbol: dict[str, list[CorporateAction]] = {}
    for action in actions:
        by_symbol.setdefault(action.symbol, []).append(action)
    names, columns = np.unique(symbols.astype(str), return_inverse=True)
    order = np.lexsort((times, columns))
    for symbol, rows in zip(
        names.tolist(), np.split(order, np.cumsum(np.bincount(columns))[:-1]), strict=True
    ):
        own = by_symbol.get(symbol, [])
        if not own:
            continue
        _require_raw(symbol, adjustment[rows], own)
        adjustment[rows] = adjustment_as_known(times[rows], close[rows], own)
        final += _final_bars(table, rows, market, times[rows], own)
    index = table.schema.get_field_index("adjustment")
    adjusted = table.set_column(index, table.schema.field(index), pa.array(adjustment, from_pandas=True))
    if not final:
        return adjusted
    # The last row of a symbol carries its final adjustment over to its final bars.
    closed = pa.concat_tables([adjusted, *(_closed(adjusted, *one) for one in final)])
    return closed.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])


def adjustment_as_known(
    timestamps: Timestamps, close: FloatMatrix, actions: Sequence[CorporateAction]
) -> FloatMatrix:
    """Return the adjustment of one symbol at each bar, by the actions known at that bar.

    Parameters
    ----------
    timestamps
        Closes of the bars, datetime64[ns] of shape [T], sorted.
    close
        Prices as traded, float64 of shape [T].
    actions
        The symbol's corporate actions, in any order.

    Returns
    -------
    numpy.ndarray
        Adjustments, float64 of shape [T].

    Raises
    ------
    DataError
        For two ratios of one ex-date, and a distribution that is not below the price.
    """
    changes = _changes_of_the_past(actions)
    bounds = [int(np.searchsorted(timestamps, to_datetime64(moment))) for moment in changes]
    result = np.ones(len(timestamps))
    # Between two changes of what is known of the past, actions only add factors from their ex-date on.
    for first, last, until in zip([0, *bounds], [*bounds, len(timestamps)], [*changes, _ALWAYS], strict=True):
        if first < last:
            known = actions_known_at(actions, until if until is _ALWAYS else until - MICROSECOND)
            result[first:last] = adjustment_of(timestamps, close, known)[first:last]
    return result


def delisted_from(actions: Sequence[CorporateAction]) -> dict[str, datetime]:
    """Return the moment from which each delisted symbol was known to be delisted."""
    return {
        action.symbol: max(action.effective, as_utc(action.published))
        for action in actions_known_at(actions, _ALWAYS)
        if action.kind == "delisting"
    }


def _changes_of_the_past(actions: Sequence[CorporateAction]) -> list[datetime]:
    """Return the moments, sorted, at which actions that had taken effect before became known or changed."""
    identifiers = [action.identifier for action in actions if action.identifier]
    revised = {identifier for identifier in identifiers if identifiers.count(identifier) > 1}
    late = (
        as_utc(action.published)
        for action in actions
        if action.identifier in revised or as_utc(action.published) > action.effective
    )
    return sorted(set(late))


def _require_raw(symbol: str, adjustment: FloatMatrix, actions: Sequence[CorporateAction]) -> None:
    if (np.isfinite(adjustment) & (adjustment != 1.0)).any():
        raise DataError(
            f"the bars of {symbol} are adjusted already; leave its corporate actions out of data.actions, "
            "which applies to prices as traded"
        )
    for action in actions:
        if action.kind == "symbol_change":
            raise DataError(
                f"{symbol} becomes {action.new_symbol} on {action.ex_date}; name its bars "
                f"{action.new_symbol} throughout, as vendors do, and leave the change out of data.actions"
            )


def _final_bars(
    table: pa.Table,
    rows: npt.NDArray[np.intp],
    market: Timestamps,
    times: Timestamps,
    actions: Sequence[CorporateAction],
) -> list[tuple[int, float, Timestamps]]:
    """Return the last row of a delisted symbol, its return, and the times of its final bars."""
    result = []
    for action in actions_known_at(actions, _ALWAYS):
        if action.kind == "delisting":
            since = to_datetime64(max(action.effective, as_utc(action.published)))
            before = int(np.searchsorted(times, to_datetime64(action.effective)))
            if before < len(times):
                raise DataError(
                    f"{action.symbol} has a bar at {times[before]}, after its delisting on {action.ex_date}; "
                    "mend the date, or leave out the bars after it"
                )
            later = market[market >= since][:FINAL_BARS]
            if before and len(later):
                result.append((int(rows[before - 1]), action.value, later))
    return result


def _closed(table: pa.Table, row: int, value: float, times: Timestamps) -> pa.Table:
    """Return the final bars of the symbol whose last bar is `row`."""
    bars = table.take(pa.array([row] * len(times)))
    share = max(1.0 + value, MIN_FINAL_SHARE)
    price = pa.array([table["close"][row].as_py() * share] * len(times), pa.float64())
    stamps = pa.array(times).cast(table.schema.field("timestamp").type)
    nothing = pa.nulls(len(times), pa.float64())
    columns = {"timestamp": stamps, "volume": nothing, **dict.fromkeys(PRICE_COLUMNS, price)}
    for name, values in columns.items():
        index = bars.schema.get_field_index(name)
        bars = bars.set_column(index, bars.schema.field(index), values)
    return bars
