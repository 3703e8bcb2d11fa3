#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Files named after tickers with a dot (BRK.A.csv, BRK.B.csv) are two symbols, BRK.A and BRK.B."""
d = days(5); row = lambda p: "".join(f"{x},{p},{p},{p},{p},1000\n" for x in d)
where = folder(BRK__A__csv="date,open,high,low,close,volume\n" + row(300000.0), BRK__B__csv="date,open,high,low,close,volume\n" + row(200.0))
from marketdata.sources import registry
found = registry.find_source(f"folder:{where}").symbols()
verdict(found == ("BRK.A", "BRK.B"), f"symbols of BRK.A.csv and BRK.B.csv are {found}")
