import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# quantstats#438, pyfolio#179, freqtrade#6655: a loss on the first bar counts in drawdown and return.
import numpy as np
from trading.backtest import run_backtest, performance_metrics
from trading.risk.risk_check import RiskLimits
from alphaloop.costs import CostModel
close = np.full((6, 4), 100.0); close[2:] = 80
got = run_backtest(panel(close), np.zeros((6, 4)), costs=CostModel(0, 0), limits=RiskLimits(max_weight=1, prediction_deadline_ms=None))
m = got.metrics
verdict(abs(m.max_drawdown - .2) < 1e-9 and abs(m.net_return + .2) < 1e-9, f"the first held bar loses 20 %: drawdown {m.max_drawdown:.1%}, return {m.net_return:+.1%}")
