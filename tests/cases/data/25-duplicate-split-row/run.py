#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""A split that stands twice in the file, word for word (polygon-io 311, 324), is one split: the price halves once."""
from datetime import datetime, UTC
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from marketdata.calendars import closes_of
from marketdata.point_in_time.corporate_actions import apply_actions, read_actions
from datetime import date
w = folder(actions__csv="symbol,kind,ex_date,published,value\n" + "ABC,split,2019-01-15,2019-01-02T12:00:00Z,2\n" * 2)
t = closes_of([date.fromisoformat(x) for x in days(20)])
close = np.where(np.arange(20) < 9, 100.0, 50.0)
raw = BarPanel.from_table(bars_table("ABC", t, {n: close for n in ("open", "high", "low", "close")} | {"volume": close, "adjustment": np.ones(20)}))
try:
    made = apply_actions(raw, read_actions(w / "actions.csv"), datetime(2019, 3, 1, tzinfo=UTC)).adjustment[-1, 0]
except Exception as e:
    verdict(True, f"refused: {e}")
verdict(made == 2.0, f"adjustment after a 2:1 split given twice is {made}")
