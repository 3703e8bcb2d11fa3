#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""A symbol whose last bar came a day late is filled in when it is there: no silent hole in the next delta."""
import pyarrow as pa, pyarrow.compute as pc
from marketdata.source import bars_table
from marketdata.calendars import closes_of
from marketdata.storage import incremental
from marketdata.storage.snapshots import SnapshotStore
from alphaloop.bars import BarPanel
from datetime import date
import numpy as np
t = closes_of([date.fromisoformat(x) for x in days(30)])
def table(n, late):
    parts = []
    for k, s in enumerate("AB"):
        r = np.array(walk(30, 100, 0.01, k)).T; m = n - (s == "B" and late)
        cols = dict(zip(("open", "high", "low", "close", "volume"), r[:, :m])); cols["adjustment"] = np.ones(m)
        parts.append(bars_table(s, t[:m], cols))
    return pa.concat_tables(parts).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
class Source:
    name, calendar, adjusted_only = "s", "XNYS", False
    def symbols(self): return ("A", "B")
    def history(self, symbols, start=None, end=None, frequency="1d"):
        x = self.t; return x if start is None else x.filter(pc.greater_equal(x["timestamp"], pa.scalar(start, x.schema.field("timestamp").type)))
s = Source(); s.t = table(20, True); store = SnapshotStore(folder()); incremental.store_base_snapshot(store, s)
s.t = table(21, False)
try:
    new = incremental.update_snapshot(store, s); p = BarPanel.from_table(store.load(new.id)); hole = int(np.isnan(p.close).sum())
    verdict(hole == 0, f"after the update B lacks {hole} bar (the source has it), nothing is said")
except Exception as e:
    verdict(True, f"it says: {e}")
