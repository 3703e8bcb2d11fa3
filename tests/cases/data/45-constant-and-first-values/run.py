#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""First value of an indicator stands at its own lookback, in TA-Lib and in our own; nothing before, no gap after."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from features.feature_set import catalogue_feature_set
from features.compute.batch import backfill
n = 700; rows = np.array(walk(n, 50.0, 0.01, 11)).T; t = np.datetime64("2020-01-01", "ns") + np.arange(1, n + 1) * np.timedelta64(1, "D")
cols = dict(zip(("open", "high", "low", "close", "volume"), rows)); cols["adjustment"] = np.ones(n)
p = BarPanel.from_table(bars_table("X", t, cols)); s = catalogue_feature_set(p); v = backfill(p, s).values[:, 0]; early = {}
for i, f in enumerate(s.features):
    known = np.flatnonzero(np.isfinite(v[:, i]))
    if len(known) and known[0] < f.column.lookback - 1: early[f.name] = (int(known[0]) + 1, f.column.lookback)
verdict(not early, f"before their lookback: {dict(list(early.items())[:8])} of {len(s.features)}")
