#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""A symbol whose years lie in two files with adjusted closes: the adjustment runs on over the seam, whichever file comes first."""
d = days(300); rows = walk(300, 100.0, 0.01, 31)
adj = [r[3] * (0.5 if i < 200 else 1.0) * 0.97 for i, r in enumerate(rows)]
raw = [r[3] * 1.0 for r in rows]
head = "symbol,date,close,adj close\n"; line = lambda i: f"A,{d[i]},{raw[i] if i >= 200 else raw[i]},{adj[i]}\n"
w = folder(b__csv=head + "".join(map(line, range(150))), a__csv=head + "".join(map(line, range(150, 300))))
from marketdata.sources import registry
t = registry.find_source(f"folder:{w}").history(()); got = t["adjustment"].to_numpy()
import numpy as np
verdict(np.allclose(got, [1.0] * 200 + [2.0] * 100), f"adjustment begins {got[0]:.3f}, at the seam {got[149]:.3f} {got[150]:.3f}, ends {got[-1]:.3f}")
