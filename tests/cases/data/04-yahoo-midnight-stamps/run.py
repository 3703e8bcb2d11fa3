#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""A daily file as yfinance saves it (midnight of New York, the day's START) must not pass as bars that closed at 05:00 UTC."""
d = days(60); rows = walk(60)
text = "Date,Open,High,Low,Close,Volume\n" + "".join(f"{x} 00:00:00-05:00,{o},{h},{l},{c},{v}\n" for x, (o, h, l, c, v) in zip(d, rows))
where = folder(SPY__csv=text)
rc, found = check(f"folder:{where}")
from marketdata.sources import registry
first = registry.find_source(f"folder:{where}").history(()).slice(0, 1)["timestamp"][0].as_py()
verdict(first.hour == 21 or rc != 0 or len(found) > 0, f"bar of 2019-01-02 is taken to close at {first}, before the market opened; data check rc {rc}, findings {found}")
