#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""STDDEV, BBANDS and CORREL at the prices of small coins (2e-6, ticks of 1e-8; ta-lib 242, 243) are what two passes give."""
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from features.notebook import features
rng = np.random.default_rng(2); ticks = 197 + np.cumsum(rng.integers(-2, 3, 300)); ticks = np.maximum(ticks, 50)
close = ticks * 1e-8; times = np.datetime64("2024-01-01", "ns") + np.arange(1, 301) * np.timedelta64(1, "m")
cols = {n: close for n in ("open", "high", "low", "close")} | {"volume": np.full(300, 1e9), "adjustment": np.ones(300)}
f = features(BarPanel.from_table(bars_table("PEPE", times, cols)), "s = stddev(close, 20, 1)", "w = bbands(20).upperband - bbands(20).lowerband", "r = correl(close, 2 * close, 30)", "b = beta(close, 2 * close, 5)", "rs = rsi(14)", "own = rolling_std(20)")
w = np.lib.stride_tricks.sliding_window_view(close, 20); s = w.std(axis=1)
got = f["s"].to_numpy()[19:]; width = f["w"].to_numpy()[19:]; r = f["r"].to_numpy()[29:]
ok = np.allclose(got, s, rtol=1e-4) and np.allclose(width, 4 * s, rtol=1e-4) and np.allclose(r, 1, atol=1e-4)
verdict(ok, f"std right in {np.isclose(got, s, rtol=1e-4).mean():.0%} of bars, zero in {(got == 0).mean():.0%}; band width zero in {(width == 0).mean():.0%}; correl(x, 2x) is {sorted(set(np.round(r, 3)))[:3]}")
