"""Settings of market data: `data.…`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MOST_DAYS, Section


def _day(value: Any) -> Any:
    """A day as text; TOML has days of its own kind."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value:
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("it is no day, and it must be a day, as 2015-01-31") from error
    return value


class DataSettings(Section):
    """Which market data the loop runs on."""

    source: str = "sp500-20"
    symbols: tuple[str, ...] = Field((), description="empty means every symbol of the source")
    providers: tuple[str, ...] = Field(
        (), description="sources in the order in which they are believed; empty means `source` alone"
    )
    start: Annotated[str, BeforeValidator(_day)] = Field(
        "", description="first day of history, as 2015-01-31; empty means as far back as the source has bars"
    )
    quality: dict[str, str] = Field(
        {}, description="policy by quality rule, as {unique = 'repair'}; by default errors reject"
    )
    thresholds: dict[str, float] = Field({}, description="limits of quality rules by name")
    holidays: tuple[Annotated[str, BeforeValidator(_day)], ...] = Field(
        (), description="days on which the market was closed, whatever its calendar says, as 2012-10-29"
    )
    keep_snapshots: int = Field(0, ge=0, description="snapshots to keep of each source; 0 keeps all")
    keep_days: int = Field(
        0, ge=0, le=MOST_DAYS, description="days for which a snapshot is kept; 0 keeps all"
    )
