#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Halving the unit of price 20 times (exact in float64) scales every indicator by a power of it; no cliffs at small prices."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from features import catalogue
from features.feature_set import catalogue_feature_set, FeatureSet
from features.compute.batch import backfill
MATHS = 'acos asin atan ceil cos cosh exp floor ln log10 sin sinh tan tanh average_correlation'.split()  # no function of scale, or of one symbol
n = 600; rows = np.array(walk(n, 1.0, 0.002, 9)).T; k = 2.0 ** -20
times = np.datetime64("2024-01-01", "ns") + np.arange(1, n + 1) * np.timedelta64(5, "m")
def panel(f):
    cols = dict(zip(("open", "high", "low", "close", "volume"), [*(rows[:4] * f), rows[4]])); cols["adjustment"] = np.ones(n)
    return BarPanel.from_table(bars_table("X", times, cols))
one = panel(1.0); s = catalogue_feature_set(one)
a = backfill(one, s).values[:, 0].astype(float); b = backfill(panel(k), s).values[:, 0].astype(float); off = {}
for i, name in enumerate(s.names):
    if name in MATHS: continue
    x, y = a[:, i], b[:, i]; both = np.isfinite(x) & np.isfinite(y)
    if not both.any(): off[name] = f"finite {np.isfinite(x).sum()} / {np.isfinite(y).sum()}"; continue
    best = min((np.abs(y[both] - x[both] * k ** p).max() / max(np.abs(x[both] * k ** p).max(), 1e-300), p) for p in (0, 1, -1, 2, -2, 0.5, -0.5))
    if best[0] > 1e-3 or (np.isfinite(x) != np.isfinite(y)).any(): off[name] = f"off by {best[0]:.1e} at power {best[1]}, finite {np.isfinite(x).sum()}/{np.isfinite(y).sum()}"
print(json.dumps(off, indent=0)) if "-v" in sys.argv else None
verdict(not off, f"{len(off)} of {len(s.names)} outputs: {dict(list(off.items())[:8])}")
