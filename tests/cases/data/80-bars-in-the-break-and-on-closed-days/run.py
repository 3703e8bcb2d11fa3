#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Minutes of a day on which the exchange was closed (Christmas) are a finding on XNYS and XLON."""
import numpy as np
from marketdata.source import bars_table
from marketdata.quality import checks
t = np.concatenate([np.datetime64(f"2024-12-{d}T15:00", "ns") + np.arange(60) * np.timedelta64(1, "m") for d in (23, 25, 26)])
r = np.array(walk(len(t), 100.0, 0.0005)).T; cols = dict(zip(("open", "high", "low", "close", "volume"), r)); cols["adjustment"] = np.ones(len(t))
said = {c: len({f.timestamp[:10] for f in checks.check_bars(bars_table("A", t, cols), c) if f.rule == "calendar"}) for c in ("XNYS", "XLON")}
verdict(said == {"XNYS": 1, "XLON": 2}, f"days found closed: {said}")
