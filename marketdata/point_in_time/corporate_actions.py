"""Corporate actions: dated, published, and turned into a factor that only grows forward.

A bar keeps the price as it traded; `adjustment` times that price is comparable over time. It is 1 at a
symbol's first bar and is multiplied by a factor at each known ex-date. So an action changes the bars from
its ex-date on, and nothing before.

Back-adjustment does the opposite: it keeps the last price and divides all earlier ones by the factors
of later actions. The past then depends on the future: a price of 2012 comes to hold the split of 2020,
and anything computed from its level (a threshold, a rounding, a distance in currency) leaks; a stream,
which cannot know the split, disagrees with the backfill at each ex-date.

A split multiplies by the new shares for an old one, a stock dividend by one plus the new shares for an
old one. Cash and the worth of a spin-off are reinvested at the price without it: the factor is
`close / (close - value)` with the last close before the ex-date. This is the multiplier of the
"adjusted close" that follows the standards of the Center for Research in Security Prices (CRSP, Data
Descriptions Guide, "Factor to Adjust Price"). The holding period return of CRSP itself, `(price +
dividend) / close - 1`, leaves the cash uninvested until the close: the two differ by the day's return
on the dividend, that is in the second order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, Timestamps, to_datetime64
from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from marketdata.point_in_time.action_record import DISTRIBUTIONS, CorporateAction
from marketdata.point_in_time.duplicate_actions import without_duplicates
from marketdata.point_in_time.record_files import read_dataclasses


def action_factor(action: CorporateAction, previous_close: float) -> float:
    """Return the multiplier of the adjustment at an action's ex-date.

    Parameters
    ----------
    action
        A corporate action.
    previous_close
        Last close before the ex-date, as traded, in the action's currency.

    Returns
    -------
    float
        1.0 for a delisting or a change of symbol.

    Raises
    ------
    DataError
        For a distribution that is not below the price.

    Examples
    --------
    >>> from datetime import UTC, date, datetime
    >>> from marketdata.point_in_time.action_record import CorporateAction
    >>> published = datetime(2024, 1, 5, tzinfo=UTC)
    >>> dividend = CorporateAction("KO", date(2024, 3, 14), published, "cash_dividend", 2.0)
    >>> action_factor(dividend, previous_close=50.0)
    1.0416666666666667
    """
    if action.kind == "split":
        return action.value
    if action.kind == "stock_dividend":
        return 1.0 + action.value
    if action.kind not in DISTRIBUTIONS:
        return 1.0
    if not action.value < previous_close:
        raise DataError(
            f"{action.kind} of {action.symbol} on {action.ex_date}: {action.value} {action.currency} a share "
            f"is not below the close before it, {previous_close}; mend the action or the price"
        )
    return previous_close / (previous_close - action.value)


def actions_known_at(actions: Sequence[CorporateAction], as_of: datetime) -> list[CorporateAction]:
    """Return the actions as published at or before `as_of`, sorted by ex-date.

    Distributions of a day come before its ratios. An action that is reported twice counts once. Raises
    `DataError` for two ratios of one symbol and ex-date, and for two delistings or changes of name that
    contradict each other.
    """
    published = [action for action in actions if action.published <= as_utc(as_of)]
    published.sort(key=lambda action: action.published)
    latest = {action.identifier: action for action in published if action.identifier}
    newest = [action for action in published if latest.get(action.identifier, action) is action]
    return sorted(without_duplicates(newest), key=_order)


def apply_actions(
    bars: BarPanel,
    actions: Sequence[CorporateAction],
    as_of: datetime,
    currencies: Mapping[str, str] | None = None,
) -> BarPanel:
    """Adjust the bars up to `as_of` for the corporate actions published by then.

    After a change of symbol the history stands under the new symbol (if that is among the panel's symbols),
    and replaces the earlier bars of another company under that symbol.

    Parameters
    ----------
    bars
        Bars as traded, with an adjustment of 1 or NaN throughout; T bars of N symbols.
    actions
        Corporate actions in any order.
    as_of
        Moment of knowledge, aware; later bars are cut off.
    currencies
        Currency of prices by symbol, to be compared with those of distributions; other symbols are not
        checked.

    Returns
    -------
    BarPanel
        The same prices with `adjustment` float64 [T, N], finite even where a symbol has no bar.

    Raises
    ------
    DataError
        For bars that are adjusted already, a distribution in another currency, or contradictory actions.

    References
    ----------
    Center for Research in Security Prices, Data Descriptions Guide, "Factor to Adjust Price".
    """
    own = np.isfinite(bars.adjustment) & (bars.adjustment != 1.0)
    if own.any():
        name = bars.symbols[int(np.argmax(own.any(axis=0)))]
        raise DataError(
            f"the bars of {name} are adjusted already; corporate actions apply to prices as traded"
        )
    _require_currencies(actions, currencies or {})
    panel = bars.between(end=as_of)
    panel, known = _renamed(panel, actions_known_at(actions, as_of), as_of)
    adjustment = np.ones(panel.close.shape)
    for column, symbol in enumerate(panel.symbols):
        own_actions = [action for action in known if action.symbol == symbol]
        if own_actions:
            adjustment[:, column] = adjustment_of(panel.timestamps, panel.close[:, column], own_actions)
    return replace(panel, adjustment=adjustment)


def adjustment_of(
    timestamps: Timestamps, close: npt.NDArray[np.float64], actions: Sequence[CorporateAction]
) -> npt.NDArray[np.float64]:
    """Return the adjustment of one symbol at each bar.

    Parameters
    ----------
    timestamps
        Closing times in UTC, datetime64[ns] of shape [T], sorted.
    close
        Closes as traded, float64 of shape [T].
    actions
        The symbol's known actions. An action that is reported twice counts once.

    Returns
    -------
    numpy.ndarray
        Adjustments, float64 of shape [T]; 1 up to the first ex-date that follows a bar of the symbol.

    Raises
    ------
    DataError
        For two different ratios of one ex-date.
    """
    steps = np.ones(len(timestamps))
    price, last_row = math.nan, 0
    for action in sorted(without_duplicates(actions), key=_order):
        row = int(np.searchsorted(timestamps, to_datetime64(action.effective)))
        if row == len(timestamps):
            break
        before = np.flatnonzero(np.isfinite(close[last_row:row]))
        if len(before):
            price = float(close[last_row + before[-1]])
        last_row = row
        if math.isnan(price):
            continue
        # Actions between two bars are applied in turn, each to the price left by the one before, so that
        # two dividends have the same effect as one of their sum.
        multiplier = action_factor(action, price)
        steps[row] *= multiplier
        price /= multiplier
    grown: npt.NDArray[np.float64] = np.cumprod(steps, dtype=np.float64)
    return grown


def read_actions(path: Path) -> list[CorporateAction]:
    """Read the corporate actions of a CSV, Parquet or TOML file.

    Rows may repeat an action. Raises `DataError`, naming file, row and column, also for rows that contradict
    each other.
    """
    actions = read_dataclasses(path, CorporateAction)
    try:
        actions_known_at(
            actions, max((action.published for action in actions), default=datetime.max.replace(tzinfo=UTC))
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return actions


def _order(action: CorporateAction) -> tuple[datetime, bool, str, float, datetime]:
    return action.effective, action.kind not in DISTRIBUTIONS, action.kind, action.value, action.published


def _require_currencies(actions: Sequence[CorporateAction], currencies: Mapping[str, str]) -> None:
    for action in actions:
        expected = currencies.get(action.symbol, action.currency)
        if action.kind in DISTRIBUTIONS and action.currency != expected:
            raise DataError(
                f"{action.kind} of {action.symbol} on {action.ex_date} is in {action.currency}, "
                f"and its prices in {expected}; convert it at the rate of the day before its ex-date"
            )


def _renamed(
    panel: BarPanel, actions: list[CorporateAction], as_of: datetime
) -> tuple[BarPanel, list[CorporateAction]]:
    """Move the history of each renamed symbol, and its actions, under the new symbol."""
    for change in actions:
        if change.kind != "symbol_change" or change.effective > as_utc(as_of):
            continue
        if {change.symbol, change.new_symbol} <= set(panel.symbols):
            row = int(np.searchsorted(panel.timestamps, to_datetime64(change.effective)))
            panel = _moved(panel, row, change.symbol, change.new_symbol)
            actions = [moved for action in actions if (moved := _follow(action, change)) is not None]
    return panel, actions


def _follow(action: CorporateAction, change: CorporateAction) -> CorporateAction | None:
    """Return the action under its company's symbol after `change`; None for the symbol's former owner."""
    if action.kind == "symbol_change":
        return action
    if action.symbol == change.symbol and action.effective <= change.effective:
        return replace(action, symbol=change.new_symbol)
    former = action.symbol == change.new_symbol and action.effective < change.effective
    return None if former else action


def _moved(panel: BarPanel, row: int, old: str, new: str) -> BarPanel:
    source, target = panel.symbols.index(old), panel.symbols.index(new)

    def moved(values: npt.NDArray[Any], absent: Any = np.nan) -> npt.NDArray[Any]:
        result = values.copy()
        result[:row, target] = values[:row, source]
        result[:row, source] = absent
        return result

    names = ("open", "high", "low", "close", "volume", "adjustment")
    columns: dict[str, Any] = {name: moved(getattr(panel, name)) for name in names}
    return replace(
        panel,
        **columns,
        extra={name: moved(values) for name, values in panel.extra.items()},
        providers=None if panel.providers is None else moved(panel.providers, ""),
        disputed=None if panel.disputed is None else moved(panel.disputed, False),
    )
