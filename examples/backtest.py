"""Scores traded through the engine that trades live, at several costs, beside equal weight."""

from __future__ import annotations

import numpy as np

from alphaloop import AllocationStrategy, CostModel
from features import FeatureSet, backfill
from features.notebook import bars
from trading import equal_weight, performance_metrics
from trading.backtest import run_backtest


def main() -> None:
    """Trade a one-month reversal on the simulated market, which has one planted."""
    prices = bars("simulated", start="2017-01-03", end="2018-12-31")
    features = backfill(prices, FeatureSet(["rank(return_21)"]))
    scores = -features.values[:, :, 0].astype(np.float64)  # known at each bar's close

    strategy = AllocationStrategy(tilt=0.5, rate=0.1, band=0.05)
    print("costs (bps)  Sharpe  return  turnover  orders")
    for basis_points in (0.0, 5.0, 20.0):
        costs = CostModel(commission_bps=basis_points, half_spread_bps=0.0)
        result = run_backtest(prices, scores, strategy=strategy, costs=costs)
        net = result.metrics
        print(
            f"{basis_points:11.0f}  {net.sharpe_net:6.2f}  {net.net_return:6.1%}  {result.turnover:8.2%}  "
            f"{result.orders:6,}"
        )
    held = performance_metrics(equal_weight(prices, CostModel()), prices.timestamps)
    print(f"equal weight {held.sharpe_net:6.2f}  {held.net_return:6.1%}")


if __name__ == "__main__":
    main()
