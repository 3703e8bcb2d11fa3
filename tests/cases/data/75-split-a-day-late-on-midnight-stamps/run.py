#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Bars as yfinance saves them and a 4:1 split with the exchange's zone: the adjusted close has no jump on the ex-date (LEAN 6835 is the mirror image)."""
from datetime import datetime, UTC
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.sources import registry
from marketdata.point_in_time.corporate_actions import apply_actions, read_actions
d = days(40); rows = walk(40, 400.0, 0.01, 3); ex = d[20]
text = "Date,Open,High,Low,Close,Volume\n" + "".join(f"{x} 00:00:00-05:00," + ",".join(str(p / (4 if i >= 20 else 1)) for p in r[:4]) + f",{r[4]}\n" for i, (x, r) in enumerate(zip(d, rows)))
w = folder(TSLA__csv=text); a = folder(a__csv=f"symbol,kind,ex_date,published,value,timezone\nTSLA,split,{ex},2019-01-02T12:00:00Z,4,America/New_York\n")
panel = BarPanel.from_table(registry.find_source(f"folder:{w}").history(()))
adj = apply_actions(panel, read_actions(a / "a.csv"), datetime(2019, 12, 1, tzinfo=UTC)).adjusted_close[:, 0]
r = adj[1:] / adj[:-1] - 1
verdict(np.abs(r).max() < 0.1, f"adjusted returns around the ex-date: {np.round(r[18:22], 3)}")
