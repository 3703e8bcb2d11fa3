import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# 01 on the command line: us-tech-ohlcv, AAPL 2:1 on 28 February 2005, no file of ours
from case_loop import *
import numpy as np
home = fresh("48"); s = dict(DATA__SOURCE="us-tech-ohlcv", DATA__SYMBOLS='["AAPL","IBM","MSFT"]', TRAINING__FIRST_TEST_YEAR=2003, TRADING__MAX_WEIGHT=1)
for a in (("features", "build", "--until", "2004-12-31"), ("train", "momentum")):
    rc, o, e = cli(home, *a, **s); assert rc == 0, (a, e[-500:])
got = js(home, "backtest", "equities", "--from", "2005-02-22", "--to", "2005-03-04", **s)
from marketdata.sources.registry import find_source
from alphaloop.bars import BarPanel
b = BarPanel.from_table(find_source("us-tech-ohlcv").history(("AAPL", "IBM", "MSFT"))); d = b.timestamps.astype("datetime64[D]")
i = np.flatnonzero((d >= np.datetime64("2005-02-22")) & (d <= np.datetime64("2005-03-04")))
adj, raw = b.adjusted_close[i[-1]] / b.adjusted_close[i[1]] - 1, b.close[i[-1]] / b.close[i[1]] - 1
verdict(got["strategy"]["max_drawdown"] < .08 and got["equal_weight"]["max_drawdown"] < .08, f"nine days around the split: AAPL really {adj[0]:+.1%} (as traded {raw[0]:+.1%}); strategy {got['strategy']['net_return']:+.1%} (drawdown {got['strategy']['max_drawdown']:.1%}), equal weight {got['equal_weight']['net_return']:+.1%} ({got['equal_weight']['max_drawdown']:.1%}), momentum {got['momentum_12_1']['net_return']:+.1%}")
