import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# freqtrade#1280, #477, #11623, qlib#913: a limit of the settings holds in the backtest as in trading.
import inspect
import numpy as np
from alphaloop.settings.settings import Settings
from alphaloop.settings.trading import TradingSettings
from cli.commands import backtest as command
from trading import backtest as engine
seen = {}
real = engine.run_backtest
def spy(bars, scores, **kw):
    got = real(bars, scores, **kw)
    lim = kw.get("limits") or engine.RiskLimits(prediction_deadline_ms=None)
    seen.update(max_weight=lim.max_weight, max_gross=lim.max_gross, max_drawdown=lim.max_drawdown); return got
engine.run_backtest = spy
t = TradingSettings(max_weight=0.05, max_drawdown=0.05, max_gross=0.5)
rng = np.random.default_rng(1)
close = 100 * np.exp(np.cumsum(rng.normal(0, .02, (300, 4)), 0))
from trading.strategy import configured_strategy
command._trade(Settings(trading=t), configured_strategy(t), panel(close), np.zeros((300, 4)), 0)
verdict(seen == dict(max_weight=.05, max_gross=.5, max_drawdown=.05), f"settings max_weight 0.05, max_gross 0.5, max_drawdown 0.05; alphaloop backtest used {seen}")
