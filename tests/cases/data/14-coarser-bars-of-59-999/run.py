#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Hourly bars that close at 59.999: a day's value is there at the day's own last bar, as it is for bars that close at 00:00."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from features.notebook import features
rows = np.array(walk(24 * 6, 30000.0)).T
cols = dict(zip(("open", "high", "low", "close", "volume"), rows)); cols["adjustment"] = np.ones(24 * 6)
exact = np.datetime64("2021-01-01", "ns") + np.arange(1, 24 * 6 + 1) * np.timedelta64(1, "h")
def last_of_day(times):
    f = features(BarPanel.from_table(bars_table("BTC", times, cols)), "day = close @ 1d")["day"].to_numpy()
    return f[23::24]
a, b = last_of_day(exact), last_of_day(exact - np.timedelta64(1, "ms"))
want = rows[3][23::24].astype(np.float32)
verdict(np.array_equal(b, want), f"days' closes at their last bars: want {want[:3]}, at 00:00 {a[:3]}, at 59.999 {b[:3]}")
