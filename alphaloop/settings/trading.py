"""Settings of the book, its limits and its costs: `trading.…`."""

from __future__ import annotations

from pydantic import Field

from alphaloop.settings.base import Section


class TradingSettings(Section):
    """The book, its limits and its costs."""

    capital: int = Field(1_000_000, gt=0)
    sleeves: int = Field(20, ge=20, description="virtual books; canary shares are shares of these")
    commission_bps: float = Field(1.0, ge=0)
    half_spread_bps: float = Field(4.0, ge=0)
    tilt: float = Field(0.5, ge=0)
    rate: float = Field(0.1, gt=0, le=1)
    band: float = Field(0.05, ge=0)
    max_gross: float = Field(1.0, gt=0)
    max_weight: float | None = Field(
        None,
        gt=0,
        le=1,
        description="cap of one name; not set, it is max(0.15, min(1, 2.5 / names)) of a book's equity",
    )
    max_drawdown: float = Field(0.40, gt=0, le=1)
    max_bar_age_seconds: float = Field(
        3_600, gt=0, description="a bar older than this is journaled as missed: booked, not traded"
    )
    prediction_deadline_ms: int = Field(2_000, gt=0)
