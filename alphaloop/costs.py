"""What trading costs, the same everywhere: gates, backtest, paper and live."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alphaloop.errors import ImpossibleValueError

if TYPE_CHECKING:
    from alphaloop.settings.trading import TradingSettings

CENT = Decimal("0.01")
COST_STEP = Decimal("1e-8")
"""The step in which costs are booked."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Proportional costs: commission and half the spread, in basis points of what is traded."""

    commission_bps: float = 1.0
    half_spread_bps: float = 4.0

    def __post_init__(self) -> None:
        if self.commission_bps < 0 or self.half_spread_bps < 0:
            raise ImpossibleValueError(f"costs cannot be negative: {self}")
        if not self.rate < 1:
            raise ImpossibleValueError(
                f"trading.commission_bps ({self.commission_bps:g}) and trading.half_spread_bps "
                f"({self.half_spread_bps:g}) are {self.rate:.0%} of what is traded; together they must stay "
                "below 10,000 basis points, which is 100 %"
            )

    @classmethod
    def from_settings(cls, settings: TradingSettings) -> CostModel:
        """The costs that `settings.trading` describes."""
        return cls(settings.commission_bps, settings.half_spread_bps)

    @property
    def rate(self) -> float:
        """Cost as a share of the notional traded."""
        return (self.commission_bps + self.half_spread_bps) / 10_000

    def of_turnover(self, turnover: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Cost as a share of capital, for one-way turnover as a share of capital (any shape)."""
        return np.asarray(turnover, dtype=np.float64) * self.rate

    def of_notional(self, notional: Decimal) -> Decimal:
        """Cost to book for a traded notional.

        Not rounded to the cent, so that many small trades pay what a large one of their sum pays.
        """
        return (abs(notional) * Decimal(str(self.rate))).quantize(COST_STEP, ROUND_HALF_EVEN)
