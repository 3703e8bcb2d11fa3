"""Settings of market data: `data.…`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MAX_DAYS, FileName, Section
from alphaloop.settings.storage import Location


def _day(value: Any) -> Any:
    """Return a day as ISO text; TOML has a type of its own for days."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value:
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("it is no day, and it must be a day, as 2015-01-31") from error
    return value


class DataSettings(Section):
    """The market data that the trading loop uses."""

    location: Location = Field(
        "",
        description="folder or s3://bucket/prefix of snapshots; empty means the one that `storage` names",
    )
    source: str = Field("sp500-20", description="name of the source of market data")
    symbols: tuple[str, ...] = Field(
        (), description="symbols to load; empty means every symbol of the source"
    )
    providers: tuple[str, ...] = Field(
        (), description="sources by priority, the most trusted first; empty means `source` alone"
    )
    start: Annotated[str, BeforeValidator(_day)] = Field(
        "", description="first day of history, as 2015-01-31; empty means the first bar of the source"
    )
    universe: FileName = Field(
        "",
        description="file of the universe's members over time (symbol, group, start, end, published); empty "
        "means that all symbols always belong to it",
    )
    universe_group: str = Field(
        "", description="group of `universe` that is traded; may be empty where the file has one group"
    )
    sectors: FileName = Field(
        "",
        description="file of the symbols' sectors over time, as `universe`; gives the column `sector`, as in "
        "rank(x, by=data.sector)",
    )
    series: FileName = Field(
        "",
        description="file of external series (series, symbol, published, effective, value); each series is a "
        "column of the bars as it was known, as data.cpi in a formula",
    )
    series_max_age_days: int = Field(
        0,
        ge=0,
        le=MAX_DAYS,
        description="days since its publication after which a value of `series` is missing; 0 means never",
    )
    actions: FileName = Field(
        "",
        description="file of corporate actions (symbol, kind, ex_date, published, value), by which bars as "
        "traded are adjusted; empty means the adjustment of the source",
    )
    quality: dict[str, str] = Field(
        {}, description="policy by quality rule, as {unique = 'repair'}; by default, errors reject the data"
    )
    thresholds: dict[str, float] = Field({}, description="thresholds of the quality rules, by name")
    holidays: tuple[Annotated[str, BeforeValidator(_day)], ...] = Field(
        (),
        description="days on which the market was closed although its calendar says otherwise, as 2012-10-29",
    )
    keep_snapshots: int = Field(
        0, ge=0, description="number of snapshots to keep of each source; 0 keeps all"
    )
    keep_days: int = Field(0, ge=0, le=MAX_DAYS, description="days for which a snapshot is kept; 0 keeps all")
