#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Hours of EURUSD put together to days: five a week, as its calendar (24/5, 17:00 New York) says, and no stub of Sunday evening."""
import numpy as np, pandas as pd
from alphaloop.bars import BarPanel
from marketdata.sources.registry import find_source
from features.notebook import features
bars = BarPanel.from_table(find_source("eurusd-1h").history((), frequency="1h"))
n = features(bars, "hours = rolling_mean(volume * 0 + 1, 1)", "v = volume @ 1d", "c = close @ 1d").reset_index()
changes = n[n["v"].diff().fillna(0) != 0]
weeks = (pd.DatetimeIndex(n["timestamp"]).max() - pd.DatetimeIndex(n["timestamp"]).min()).days / 7
per_week = len(changes) / weeks
verdict(4.5 < per_week < 5.3, f"{per_week:.2f} daily bars a week over {weeks:.0f} weeks; least volumes {sorted(changes['v'])[:3]}, median {changes['v'].median():.0f}")
