import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# ways to write the future in a formula: each refused or NaN-free of it
import numpy as np
from features.feature_set import FeatureSet
from features.compute.batch import backfill
rng = np.random.default_rng(1); close = 100 * np.exp(np.cumsum(rng.normal(0, .02, (400, 5)), 0)); late = close.copy(); late[300:] *= 7
tries = ["x = lag(close, -1)", "x = lag(close, 0 - 1)", "x = lag(close, bars=-1)", "x = difference(close, -3)", "rocp(-1)", "rocp(close, -2)", "x = lag(lag(close, 2), -3)", "sma(close, -5)", "x = close @ 1w", "x = lag(close, 1.0)", "x = lag(close, -0)", "x = sma(timeperiod=-3)", "x = lag(close, 1e-9)", "x = zscore(close @ 1M)", "x = hidden_markov @ 1w", "hidden_markov", "market_regime", "x = anchored_vwap"]
bad = []
for f in tries:
    try: fs = FeatureSet([f])
    except Exception as e: continue
    try:
        a = backfill(panel(close), fs).values[:295]; b = backfill(panel(late), fs).values[:295]
        if not np.array_equal(a, b, equal_nan=True): bad.append(f)
    except Exception as e: print("  ", f, type(e).__name__, str(e)[:100])
verdict(not bad, f"of {len(tries)} formulas these change before bar 295 when prices from bar 300 on change: {bad}")
