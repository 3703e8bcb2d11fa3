"""Comparison of the loop's performance with simple benchmarks, all net of the same costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alphaloop.costs import CostModel
from alphaloop.settings.settings import Settings
from trading.backtest import PerformanceMetrics, equal_weight, momentum_12_1, performance_metrics
from trading.strategy import configured_strategy

if TYPE_CHECKING:
    from cli.demo.replay import ReplayResult

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BenchmarkComparison:
    """Equity curves from 1.0 on the same live bars, and their metrics."""

    dates: list[str]
    curves: dict[str, Vector]
    strategy: PerformanceMetrics
    equal_weight: PerformanceMetrics
    momentum: PerformanceMetrics

    def series(self) -> dict[str, Any]:
        """Return the curves as the report draws them."""
        return {"dates": self.dates, **{name: curve.round(6).tolist() for name, curve in self.curves.items()}}


def compare_with_benchmarks(settings: Settings, played: ReplayResult) -> BenchmarkComparison:
    """Compare the replay's equity with equal weight and with plain 12-1 momentum."""
    loop = played.scheduler.loop
    costs, strategy = CostModel.from_settings(settings.trading), configured_strategy(settings.trading)
    equity = np.array([float(turn.outcome.equity) for turn in loop.turns])
    bars, start = loop.bars(), loop.turns[0].as_of
    traded = bars.timestamps[-len(equity) :]
    curves = {
        "strategy": equity / equity[0],
        "equal_weight": equal_weight(bars, costs, start),
        "momentum": momentum_12_1(bars, costs, strategy, start),
    }
    return BenchmarkComparison(
        dates=[turn.as_of.date().isoformat() for turn in loop.turns],
        curves=curves,
        strategy=performance_metrics(curves["strategy"], traded),
        equal_weight=performance_metrics(curves["equal_weight"], traded),
        momentum=performance_metrics(curves["momentum"], traded),
    )
