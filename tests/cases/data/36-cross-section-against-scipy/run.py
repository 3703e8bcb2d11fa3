#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""rank, zscore, demean, median and groups of a bar, with ties and gaps, against scipy and numpy."""
import numpy as np
from scipy.stats import rankdata
from alphaloop.statistics.ranks import centred_rank
from features.engine import cross_section as c
rng = np.random.default_rng(0); v = rng.integers(0, 6, (300, 9)).astype(float); v[rng.random(v.shape) < 0.2] = np.nan
worst = 0.0
for row, r, z, dm, md in zip(v, centred_rank(v), c.zscore(v), c.demean(v), c.universe_median(v)):
    x = row[np.isfinite(row)]; n = len(x)
    if not n: continue
    want = (2 * (rankdata(x) - 1) / (n - 1) - 1) if n > 1 else np.zeros(1)
    s = x.std(); f = np.isfinite(row)
    for got, w in ((r, want), (z, (x - x.mean()) / s if s > 1e-12 else x * 0), (dm, x - x.mean()), (md, np.full(n, np.median(x)))):
        worst = max(worst, np.abs(got[f] - w).max())
verdict(worst < 1e-12, f"largest difference {worst:.1e}")
