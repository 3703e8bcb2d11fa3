#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Tickers NA, TRUE, 000001, 1E5 and lower-case ABRpD beside ABRPD stay texts and apart, in CSV and Parquet."""
import pandas as pd
d = days(3); names = ["NA", "TRUE", "000001", "1E5", "ABRpD", "ABRPD", "null"]
frame = pd.DataFrame([dict(symbol=s, date=x, close=10.0 + i) for i, s in enumerate(names) for x in d])
w = folder(); (w / "c").mkdir(); (w / "p").mkdir(); frame.to_csv(w / "c/bars.csv", index=False); frame.to_parquet(w / "p/bars.parquet")
from marketdata.sources import registry
a, b = (registry.find_source(f"folder:{w}/{x}").symbols() for x in "cp")
n = registry.find_source(f"folder:{w}/c").history(("ABRpD", "NA", "000001")).num_rows
verdict(a == b == tuple(sorted(names)) and n == 9, f"{a} {b} {n}")
