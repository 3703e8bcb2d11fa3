import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# a cost that eats the book: the command says so in a line
import tempfile
from alphaloop.settings.settings import Settings
from alphaloop.settings.trading import TradingSettings
from cli.commands import backtest as command
import numpy as np
from trading.strategy import configured_strategy
s = Settings(trading=TradingSettings(half_spread_bps=15_000, max_weight=1))
try:
    command._trade(s, configured_strategy(s.trading), panel(np.full((300, 20), 100.0)), np.random.default_rng(0).normal(size=(300, 20)), 0); verdict(True, "told")
except ValueError as e:
    from alphaloop.errors import InputError
    verdict(isinstance(e, InputError), f"half_spread_bps = 15000 is accepted, and alphaloop backtest ends in a traceback: {type(e).__name__}: {e}")
