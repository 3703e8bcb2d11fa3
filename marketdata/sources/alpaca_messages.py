"""Messages of Alpaca's websocket and its corporate actions, validated against their schema.

The messages are those of Alpaca's "Real-time Stock Data" and "Corporate Actions" references. A message that
deviates raises `ValueError`, with the kind of the fault as its text, if it came by websocket.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from math import isfinite
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from alphaloop.bars import PRICE_COLUMNS, to_datetime64
from alphaloop.errors import DataError, VendorError
from marketdata.calendars import closes_of
from marketdata.connectors.closed_bars import PERIODS, BarUpdate
from marketdata.connectors.daily_factor import DailyFactor
from marketdata.connectors.session_hours import TIME_ZONE, new_york_days, regular_closes
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.source import bars_table

# Control messages, updated bars, and daily bars that are not complete.
IGNORED_TYPES = ("success", "subscription", "u", "d")
# Start, open, high, low, close and volume.
BarRow = tuple[datetime, float, float, float, float, float]
MALFORMED_ERRORS = (AttributeError, DataError, LookupError, TypeError, ValueError, ZeroDivisionError)
PRICES = {"open": "o", "high": "h", "low": "l", "close": "c"}


def unpack_frame(raw: Any) -> list[Any]:
    """Return the messages of one frame in MessagePack."""
    import msgpack

    if not isinstance(raw, bytes):
        raise ValueError("a frame of text")
    try:
        messages = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise ValueError("a frame that is no MessagePack") from error
    if not isinstance(messages, list):
        raise ValueError("a frame that is no list")
    return messages


def refusal_code(message: Any) -> tuple[int, str] | None:
    """Return the code and text of an error message; None for any other."""
    if not isinstance(message, dict) or message.get("T") != "error":
        return None
    code = message.get("code")
    if not isinstance(code, int):
        raise ValueError("an error without a code")
    return code, str(message.get("msg"))


def parse_bar_update(message: Any, symbols: Collection[str]) -> BarUpdate | None:
    """Return the closed minute in a message; None for a message of another kind."""
    if not isinstance(message, dict):
        raise ValueError("a message that is no mapping")
    kind, symbol = message.get("T"), message.get("S")
    if kind in IGNORED_TYPES:
        return None
    if kind != "b":
        raise ValueError("a message of unknown type")
    if not isinstance(symbol, str) or symbol not in symbols:
        raise ValueError("a bar of a symbol that was not asked for")
    prices = {name: _number(message, letter) for name, letter in PRICES.items()}
    volume = _number(message, "v")
    if not all(price > 0 for price in prices.values()):
        raise ValueError("a price that is not positive")
    if volume < 0:
        raise ValueError("a volume below zero")
    if not prices["low"] <= min(prices.values()) <= max(prices.values()) <= prices["high"]:
        raise ValueError("a high or low that another price is beyond")
    return BarUpdate(symbol=symbol, start=_moment(message), **prices, volume=volume, final=True)


def _number(message: Mapping[str, Any], letter: str) -> float:
    value = message.get(letter)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"a bar whose '{letter}' is no number")
    return float(value)


def _moment(message: Mapping[str, Any]) -> datetime:
    moment: Any = message.get("t")
    if not hasattr(moment, "to_datetime"):
        raise ValueError("a bar without a time")
    try:
        start: datetime = moment.to_datetime()
    except (ValueError, OverflowError) as error:
        raise ValueError("a bar of an impossible time") from error
    if start.second or start.microsecond:
        raise ValueError("a bar that begins within a minute")
    return start


def parse_actions(answer: Mapping[str, Any]) -> list[CorporateAction]:
    """Return the splits, cash and stock dividends of one page of corporate actions.

    `VendorError` for a malformed page.
    """
    try:
        by_kind = answer["corporate_actions"]
        splits = [row for kind in ("forward_splits", "reverse_splits") for row in by_kind.get(kind, ())]
        return [
            *(_action(row, "split", float(row["new_rate"]) / float(row["old_rate"])) for row in splits),
            *(_action(row, "cash_dividend", float(row["rate"])) for row in by_kind.get("cash_dividends", ())),
            *(
                _action(row, "stock_dividend", float(row["rate"]))
                for row in by_kind.get("stock_dividends", ())
            ),
        ]
    except MALFORMED_ERRORS as error:
        raise VendorError(f"a corporate action of Alpaca makes no sense: {_fault(error)}") from error


def parse_bar_row(row: Mapping[str, Any]) -> BarRow:
    """Parse a bar of REST; `VendorError` if it is malformed."""
    try:
        start = datetime.fromisoformat(row["t"]).astimezone(UTC)
        opened, high, low, close, volume = (float(row[letter]) for letter in (*PRICES.values(), "v"))
    except MALFORMED_ERRORS as error:
        raise VendorError(f"a bar of Alpaca makes no sense: {_fault(error)}") from error
    return start, opened, high, low, close, volume


def session_bars(symbol: str, rows: Sequence[BarRow], frequency: str, factor: DailyFactor) -> pa.Table:
    """Return one symbol's bars of regular sessions, of `BARS_SCHEMA`."""
    starts = np.array([to_datetime64(row[0]) for row in rows], dtype="datetime64[ns]")
    days = new_york_days(starts)
    closes = closes_of(days.tolist()) if frequency == "1d" else regular_closes(starts, PERIODS[frequency])
    keep = ~np.isnat(closes)
    values = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 5)[keep]
    columns = dict(zip((*PRICE_COLUMNS, "volume"), values.T, strict=True))
    columns["adjustment"] = factor.at(days[keep])
    return bars_table(symbol, closes[keep], columns)


def _action(
    row: Mapping[str, Any], kind: Literal["split", "cash_dividend", "stock_dividend"], value: float
) -> CorporateAction:
    ex_date = date.fromisoformat(row["ex_date"])
    published = datetime.combine(ex_date, time.min, ZoneInfo(TIME_ZONE)).astimezone(UTC)
    identifier = str(row.get("id", ""))
    return CorporateAction(
        row["symbol"], ex_date, published, kind, value, timezone=TIME_ZONE, identifier=identifier
    )


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
