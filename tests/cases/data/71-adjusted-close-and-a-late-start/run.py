#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""The adjusted returns are the same whatever day one asks from; and equal to those of the adjusted close."""
import numpy as np
from datetime import datetime, UTC
d = days(300); rows = walk(300, 100.0, 0.01, 33); f = np.cumprod(np.where(np.isin(np.arange(300), (60, 120, 180, 240)), 0.99, 1.0))[::-1] * 0.25
w = folder(A__csv="date,close,adj close\n" + "".join(f"{x},{float(r[3])!r},{float(r[3] * k)!r}\n" for x, r, k in zip(d, rows, f)))
from marketdata.sources import registry
s = registry.find_source(f"folder:{w}"); adj = np.array([r[3] * k for r, k in zip(rows, f)])
worst = 0
for a in (0, 59, 60, 61, 150):
    t = s.history((), datetime.fromisoformat(d[a] + "T00:00+00:00")); p = t["close"].to_numpy() * t["adjustment"].to_numpy(); worst = max(worst, np.abs(p[1:] / p[:-1] - adj[a + 1:] / adj[a:-1]).max())
verdict(worst < 1e-12, f"largest difference of returns {worst:.1e}")
