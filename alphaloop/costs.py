"""Trading costs, the same in the promotion gate, backtest, paper and live trading."""

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
"""Smallest step in which costs are booked."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Proportional trading costs: commission and half the spread.

    Parameters
    ----------
    commission_bps : float
        Commission in basis points of the notional traded.
    half_spread_bps : float
        Half of the bid-ask spread in basis points of the notional traded.

    Raises
    ------
    ImpossibleValueError
        For a negative cost, or for costs that reach 100 % of the notional.

    Examples
    --------
    >>> CostModel(commission_bps=1.0, half_spread_bps=4.0).rate
    0.0005
    """

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
        """Return the costs that `settings.trading` describes."""
        return cls(settings.commission_bps, settings.half_spread_bps)

    @property
    def rate(self) -> float:
        """Cost as a share of the notional traded."""
        return (self.commission_bps + self.half_spread_bps) / 10_000

    def of_turnover(self, turnover: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the cost of a one-way turnover, both as shares of capital (any shape)."""
        return np.asarray(turnover, dtype=np.float64) * self.rate

    def of_notional(self, notional: Decimal) -> Decimal:
        """Return the cost to book for a traded notional.

        It is not rounded to the cent, so that many small trades cost the same as one large trade of their
        sum.
        """
        return (abs(notional) * Decimal(str(self.rate))).quantize(COST_STEP, ROUND_HALF_EVEN)
