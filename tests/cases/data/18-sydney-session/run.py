#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Hours of a Sydney stock in summer (10:00-16:00, 23:00-05:00 UTC): the session's VWAP begins anew with the session's first bar."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from features.notebook import features
import exchange_calendars as xc
cal = xc.get_calendar("XASX", start="2024-01-01", end="2024-02-28")
closes = np.concatenate([[np.datetime64(o.tz_localize(None), "ns") + np.timedelta64(k, "h") for k in range(1, 7)] for o in cal.opens.dt.tz_convert("UTC")[:20]])
rows = np.array(walk(len(closes), 40.0)).T
cols = dict(zip(("open", "high", "low", "close", "volume"), rows)); cols["adjustment"] = np.ones(len(closes))
table = bars_table("BHP", closes, cols)
from marketdata.quality import checks
found = checks.check_bars(table, "XASX")
got = features(BarPanel.from_table(table), "vwap = anchored_vwap(anchor=\"session\")" if False else "anchored_vwap(\"session\")").iloc[:, 0].to_numpy()
typical = ((rows[1] + rows[2] + rows[3]) / 3).astype(np.float32)
first = np.arange(6, len(closes), 6)
verdict(np.allclose(got[first], typical[first], rtol=1e-6), f"first bars close at {closes[0]} UTC; VWAP is the bar's own typical price in {int(np.isclose(got[first], typical[first], rtol=1e-6).sum())} of {len(first)} sessions; findings {len(found)}")
