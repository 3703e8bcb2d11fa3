import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# FinRL#15, vectorbt#294, sanpy#104, quantstats#116: annualised by the bars there are, not by 252.
import numpy as np
from trading.backtest import run_backtest
from models.evaluation.sharpe_ratio import bars_per_year, sharpe_ratio
from trading.risk.risk_check import RiskLimits
rng = np.random.default_rng(3)
close = 100 * np.exp(np.cumsum(rng.normal(2e-5, .002, (6000, 3)), 0))
bars = panel(close, step="h")
got = run_backtest(bars, np.zeros((6000, 3)), limits=RiskLimits(max_weight=1, prediction_deadline_ms=None))
r = got.equity[1:] / got.equity[:-1] - 1
right = sharpe_ratio(r, bars_per_year(bars.timestamps))
verdict(abs(got.metrics.sharpe_net / right - 1) < .05, f"hourly bars: backtest says Sharpe {got.metrics.sharpe_net:.2f}, volatility {got.metrics.volatility:.1%}; by the year of the card {right:.2f}, {r.std(ddof=1)*bars_per_year(bars.timestamps)**.5:.1%}")
