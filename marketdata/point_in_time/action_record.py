"""One corporate action: its terms, its dates, and its time of publication."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alphaloop.errors import DataError

ActionKind = Literal["split", "cash_dividend", "stock_dividend", "spin_off", "delisting", "symbol_change"]


ACTION_KINDS: tuple[str, ...] = get_args(ActionKind)


# Paid out per share: the price falls by this amount on the ex-date.
DISTRIBUTIONS = ("cash_dividend", "spin_off")


# Shares per share: the price is divided by this ratio.
RATIOS = ("split", "stock_dividend")


MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """A corporate action and the moment at which it was published.

    A later publication under the same `identifier` replaces an earlier one: another value, another date, or
    nothing at all (a distribution of 0, a split of 1).

    Parameters
    ----------
    symbol
        Symbol of the share before the action.
    ex_date
        First day without the action; it begins at midnight of `timezone`.
    published
        Moment from which the action was known, aware.
    kind
        `split`, `cash_dividend`, `stock_dividend`, `spin_off`, `delisting` or `symbol_change`.
    value
        By kind: `split` new shares for one old (2.0, or 0.1 for a reverse split of ten to one);
        `stock_dividend` further shares for each (0.05); `cash_dividend` and `spin_off` worth per share held
        before the ex-date, in `currency`; `delisting` the return from the last price to the holders' proceeds
        (-1 if nothing); `symbol_change` 0.
    currency
        Currency of a distribution.
    new_symbol
        New symbol of a `symbol_change`, else empty.
    timezone
        Time zone of the ex-date, as `America/New_York`.
    identifier
        Identifier under which a vendor revises the action; may be empty.

    Raises
    ------
    DataError
        For impossible values.

    Examples
    --------
    >>> from datetime import UTC, date, datetime
    >>> from marketdata.point_in_time.action_record import CorporateAction
    >>> announced = datetime(2020, 7, 30, 20, 30, tzinfo=UTC)
    >>> split = CorporateAction(
    ...     "AAPL", date(2020, 8, 31), announced, "split", 4.0, timezone="America/New_York"
    ... )
    >>> split.effective.isoformat()
    '2020-08-31T04:00:00.000001+00:00'
    """

    symbol: str
    ex_date: date
    published: datetime
    kind: ActionKind
    value: float = 0.0
    currency: str = "USD"
    new_symbol: str = ""
    timezone: str = "UTC"
    identifier: str = ""

    def __post_init__(self) -> None:
        if not self.symbol:
            raise DataError("a corporate action names its symbol")
        if self.kind not in ACTION_KINDS:
            raise self._wrong(f"kind is '{self.kind}'; known: {', '.join(ACTION_KINDS)}")
        if isinstance(self.ex_date, datetime) or not isinstance(self.ex_date, date):
            raise self._wrong(f"ex_date is {self.ex_date!r}; give a date")
        if self.published.tzinfo is None:
            raise self._wrong(f"published is {self.published}, without a time zone; give it in UTC")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise self._wrong(f"timezone is '{self.timezone}'; give a name like America/New_York") from error
        self._check_value()

    def _check_value(self) -> None:
        if not math.isfinite(self.value):
            raise self._wrong(f"value is {self.value}; it must be finite")
        if self.kind == "delisting" and self.value < -1:
            raise self._wrong(f"value is {self.value}; a delisting return is -1 or more")
        if self.kind in RATIOS and self.value <= 0:
            raise self._wrong(f"value is {self.value}; it must be above 0")
        if self.kind in DISTRIBUTIONS and self.value < 0:
            raise self._wrong(f"value is {self.value}; it must not be below 0")
        if self.kind in DISTRIBUTIONS and not self.currency:
            raise self._wrong("it names no currency")
        if (self.kind == "symbol_change") != bool(self.new_symbol) or self.new_symbol == self.symbol:
            raise self._wrong(f"new_symbol is '{self.new_symbol}'; a symbol change, and only it, has another")

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self.kind} of {self.symbol} on {self.ex_date}: {what}")

    @property
    def effective(self) -> datetime:
        """First moment, in UTC, at which a closing bar is without the action.

        A bar that closes at midnight as the ex-date begins still belongs to the day before.
        """
        midnight = datetime.combine(self.ex_date, time.min, ZoneInfo(self.timezone))
        return midnight.astimezone(UTC) + MICROSECOND
