import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# QuantConnect/Lean#5325, nautilus_trader#3307, bt PR#382: a split in prices as traded is not a loss.
import numpy as np
from trading.backtest import run_backtest, equal_weight, performance_metrics
from trading.risk.risk_check import RiskLimits
from alphaloop.costs import CostModel
n = 40
close = np.full((n, 4), 100.0); adj = np.ones((n, 4))
close[20:, 0] = 50.0; adj[20:, 0] = 2.0            # 2-for-1 on bar 20; adjusted price never moves
bars = panel(close, adjustment=adj)
limits = RiskLimits(max_weight=1, prediction_deadline_ms=None)
got = run_backtest(bars, np.zeros((n, 4)), limits=limits, costs=CostModel(0, 0))
ew = equal_weight(bars, CostModel(0, 0))
m = got.metrics
verdict(abs(m.net_return) < 1e-3 and abs(ew[-1] - 1) < 1e-3,
        f"nothing moved but a 2:1 split of one of four; strategy {m.net_return:+.2%} (drawdown {m.max_drawdown:.2%}), equal weight {ew[-1]-1:+.2%}; right is 0")
