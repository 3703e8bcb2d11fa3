#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Minutes of Shanghai, Hong Kong and Tokyo, which rest over noon: the break is no hole in the data."""
import numpy as np, exchange_calendars as xc
from marketdata.source import bars_table
from marketdata.quality import checks
said = {}
for name in ("XSHG", "XHKG", "XTKS"):
    cal = xc.get_calendar(name, start="2024-01-01", end="2024-12-31"); s = cal.schedule.loc["2024-06-03":"2024-06-07"]; t = []
    for o, c, b, e in zip(s.open, s.close, s.break_start, s.break_end):
        for x, y in ((o, b), (e, c)): t.append(np.arange(np.datetime64(x.tz_localize(None)) + np.timedelta64(1, "m"), np.datetime64(y.tz_localize(None)) + np.timedelta64(1, "s"), np.timedelta64(1, "m")))
    t = np.concatenate(t).astype("datetime64[ns]"); r = np.array(walk(len(t), 100.0, 0.0005)).T; cols = dict(zip(("open", "high", "low", "close", "volume"), r)); cols["adjustment"] = np.ones(len(t))
    found = checks.check_bars(bars_table("A", t, cols), name); said[name] = (len(found), str(found[0])[:90] + f" ({found[0].severity})" if found else "")
verdict(all(n == 0 for n, _ in said.values()), f"{said}")
