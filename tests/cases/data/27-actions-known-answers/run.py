#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Dividend, special dividend, split and dividend of one day, ex-date on a Saturday: factors by hand."""
from datetime import datetime, UTC, date
import numpy as np
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from marketdata.calendars import closes_of
from marketdata.point_in_time.action_record import CorporateAction as A
from marketdata.point_in_time.corporate_actions import apply_actions
t = closes_of([date.fromisoformat(x) for x in days(30)]); close = np.full(30, 100.0)
raw = BarPanel.from_table(bars_table("ABC", t, {n: close for n in ("open", "high", "low", "close")} | {"volume": close, "adjustment": np.ones(30)}))
p = datetime(2019, 1, 1, tzinfo=UTC); d = days(30)
def end(*acts): return float(apply_actions(raw, acts, datetime(2019, 3, 1, tzinfo=UTC)).adjustment[-1, 0])
got = [end(A("ABC", date.fromisoformat(d[5]), p, "cash_dividend", 2.0)),
       end(A("ABC", date.fromisoformat(d[5]), p, "cash_dividend", 2.0), A("ABC", date.fromisoformat(d[5]), p, "split", 2.0)),
       end(A("ABC", date(2019, 1, 12), p, "split", 3.0)), end(A("ABC", date.fromisoformat(d[0]), p, "cash_dividend", 2.0)),
       end(A("ABC", date.fromisoformat(d[5]), p, "cash_dividend", 1.0), A("ABC", date.fromisoformat(d[5]), p, "cash_dividend", 1.0, identifier="s"))]
want = [100 / 98, 2 * 100 / 98, 3.0, 1.0, 100 / 98]
verdict(np.allclose(got, want, rtol=1e-12), f"{got} want {want}")
