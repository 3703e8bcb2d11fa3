#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""A daily file with 16:00 closes in one half and bare dates in the other (half days differ by 3 hours): each session is one bar."""
d = days(250); rows = walk(250)
text = "date,open,high,low,close,volume\n" + "".join(f"{x if i % 2 else x + ' 16:00:00'},{o},{h},{l},{c},{v}\n" for i, (x, (o, h, l, c, v)) in enumerate(zip(d, rows)))
rc, found = check(f"folder:{folder(A__csv=text)}?timezone=America/New_York")
from marketdata.sources import registry
import numpy as np
verdict(rc == 0 and not found, f"rc {rc} {found[:2] if isinstance(found, list) else found}")
