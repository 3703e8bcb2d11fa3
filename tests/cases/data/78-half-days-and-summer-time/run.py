#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Quarter hours of New York over a half day (2024-11-29, 12-24) and the end of summer time (11-03): right bars have no finding."""
import numpy as np, exchange_calendars as xc
from marketdata.source import bars_table
from marketdata.quality import checks
cal = xc.get_calendar("XNYS", start="2024-01-01", end="2024-12-31"); s = cal.schedule.loc["2024-10-28":"2024-12-27"]
t = np.concatenate([np.arange(np.datetime64(o.tz_localize(None)) + np.timedelta64(15, "m"), np.datetime64(c.tz_localize(None)) + np.timedelta64(1, "m"), np.timedelta64(15, "m")) for o, c in zip(s.open, s.close)]).astype("datetime64[ns]")
r = np.array(walk(len(t), 100.0, 0.001)).T; cols = dict(zip(("open", "high", "low", "close", "volume"), r)); cols["adjustment"] = np.ones(len(t))
found = [str(f) for f in checks.check_bars(bars_table("A", t, cols), "XNYS")]
verdict(not found, f"{len(t)} bars, findings {found[:3]}")
