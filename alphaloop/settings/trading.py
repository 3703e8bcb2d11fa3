"""Settings of trading: `trading.…`, the book, its limits and its costs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from alphaloop.settings.base import FileName, Section


class TradingSettings(Section):
    """The book, its strategy, its limits and its costs."""

    capital: int = Field(1_000_000, gt=0, description="initial capital, in the currency of the prices")
    sleeves: int = Field(
        20,
        ge=20,
        description="number of capital sleeves (virtual books); canary shares are shares of their number",
    )
    instruments: FileName = Field(
        "",
        description="file of the instruments' terms (symbol, lot, tick, start, published): orders are whole "
        "lots, and prices whole ticks; empty means lots of 0.0001 and no tick",
    )
    commission_bps: float = Field(1.0, ge=0, description="commission in basis points of the notional traded")
    half_spread_bps: float = Field(
        4.0, ge=0, description="half of the bid-ask spread in basis points of the notional traded"
    )
    strategy: str = Field(
        "allocation",
        min_length=1,
        description="strategy that turns scores into weights: allocation, or one of a plug-in",
    )
    strategy_parameters: dict[str, Any] = Field(
        {},
        description="parameters of a plug-in's strategy by name; allocation has tilt, rate and band instead",
    )
    tilt: float = Field(
        0.5,
        ge=0,
        description="weight that one standard deviation of score rank adds, as a share of equal weight",
    )
    rate: float = Field(
        0.1, gt=0, le=1, description="share of the distance to the target weight that one bar trades"
    )
    band: float = Field(
        0.05,
        ge=0,
        description="distance to the target, as a share of equal weight, below which nothing is traded",
    )
    max_gross: float = Field(1.0, gt=0, description="largest sum of weights, as a share of equity")
    max_weight: float | None = Field(
        None,
        gt=0,
        le=1,
        description="largest weight of one symbol, as a share of equity; by default max(0.15, min(1, "
        "2.5 / symbols))",
    )
    max_drawdown: float = Field(
        0.40,
        gt=0,
        le=1,
        description="loss from the highest equity, as a share, after which nothing is bought",
    )
    max_bar_age_seconds: float = Field(
        3_600,
        gt=0,
        description="age of a bar, in seconds, above which it is journaled as missed: booked, not traded",
    )
    prediction_deadline_ms: int = Field(
        2_000,
        gt=0,
        description="milliseconds allowed for all forecasts of one bar; sleeves without a forecast "
        "only reduce positions",
    )
