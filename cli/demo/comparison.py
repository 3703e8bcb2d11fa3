"""Comparison of the loop's performance with simple benchmarks, all net of the same costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy
from alphaloop.costs import CostModel
from alphaloop.settings.settings import Settings
from trading.backtest import Metrics, equal_weight, metrics, momentum_12_1

if TYPE_CHECKING:
    from cli.demo.replay import Played

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """Equity curves from 1.0 on the same live bars, and their metrics."""

    dates: list[str]
    curves: dict[str, Vector]
    strategy: Metrics
    equal_weight: Metrics
    momentum: Metrics

    def series(self) -> dict[str, Any]:
        """Return the curves as the report draws them."""
        return {"dates": self.dates, **{name: curve.round(6).tolist() for name, curve in self.curves.items()}}


def measure(settings: Settings, played: Played) -> Measured:
    """Compare the replay's equity with equal weight and with plain 12-1 momentum."""
    loop = played.scheduler.loop
    costs, policy = (
        CostModel.from_settings(settings.trading),
        AllocationPolicy.from_settings(settings.trading),
    )
    equity = np.array([float(turn.outcome.equity) for turn in loop.turns])
    bars, start = loop.bars(), loop.turns[0].as_of
    traded = bars.timestamps[-len(equity) :]
    curves = {
        "strategy": equity / equity[0],
        "equal_weight": equal_weight(bars, costs, start),
        "momentum": momentum_12_1(bars, costs, policy, start),
    }
    return Measured(
        dates=[turn.as_of.date().isoformat() for turn in loop.turns],
        curves=curves,
        strategy=metrics(curves["strategy"], traded),
        equal_weight=metrics(curves["equal_weight"], traded),
        momentum=metrics(curves["momentum"], traded),
    )
