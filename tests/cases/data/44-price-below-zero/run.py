#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Oil of April 2020 at -37.63 with price=report (fastquant 392): features are NaN or finite, the day is not lost, nothing crashes."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from marketdata.calendars import closes_of
from datetime import date
from features.notebook import features
close = np.full(60, 20.0) + np.arange(60) * 0.01; close[40] = -37.63
cols = {n: close for n in ("open", "high", "low", "close")} | {"volume": np.full(60, 1e5), "adjustment": np.ones(60)}
f = features(BarPanel.from_table(bars_table("CL", closes_of([date.fromisoformat(x) for x in days(60, "2020-02-24")]), cols)), "difference(close, 1)", "l = log_return(1)", "rsi(14)", "atr(14)", "natr(14)", "s = simple_return(1)")
d = f["difference_close_1"].to_numpy() if "difference_close_1" in f else f.iloc[:, 0].to_numpy()
verdict(abs(d[40] + 37.63 + close[39]) < 1e-4 and not np.isinf(f.to_numpy()).any() and np.isnan(f["l"].to_numpy()[40]) , f"difference {d[40]:.2f}, log {f['l'].to_numpy()[40]}, simple return of -288 % {f['s'].to_numpy()[40]:.3f} then {f['s'].to_numpy()[41]:.3f} (sign against the move {close[41] - close[40]:+.1f})")
