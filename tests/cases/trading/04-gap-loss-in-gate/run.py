import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# vectorbt#83, qlib#424, Vibe-Trading#1318: a halt must not swallow what happened meanwhile.
import numpy as np
from models.evaluation.simulated_portfolio import simulate_portfolio
from trading.backtest import run_backtest
from trading.risk.risk_check import RiskLimits
from alphaloop.allocation import AllocationStrategy
from alphaloop.costs import CostModel
n = 30
close = np.full((n, 4), 100.0); close[15, 0] = np.nan; close[16:, 0] = 50.0   # halted one bar, reopens at half
scores = np.zeros((n, 4))
gate = simulate_portfolio(scores, close, AllocationStrategy(band=9), CostModel(0, 0), timestamps=panel(close).timestamps, symbols=panel(close).symbols).net_returns
engine = run_backtest(panel(close), scores, strategy=AllocationStrategy(band=9), costs=CostModel(0, 0),
                  limits=RiskLimits(max_weight=1, prediction_deadline_ms=None)).metrics.net_return
total = float(np.prod(1 + gate) - 1)
verdict(abs(total - engine) < 1e-3, f"one of four falls 50 % over a one-bar halt: the gate's book {total:+.2%}, the engine {engine:+.2%}; right is -12.50 %")
