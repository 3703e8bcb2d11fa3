#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Bare dates of XNYS: 13:00 on Christmas Eve, no session on 2001-09-11, 2012-10-29 (Sandy), 2025-01-09 (Carter)."""
from datetime import date
from marketdata.calendars import closes_of, session_closes
c = [str(x)[11:16] for x in closes_of([date(2024, 12, 24), date(2024, 11, 29), date(2024, 7, 3), date(2024, 7, 5), date(2024, 1, 3)])]
n = [len(session_closes(x, x)) for x in (date(2001, 9, 11), date(2012, 10, 29), date(2025, 1, 9), date(2018, 12, 5), date(2001, 9, 17))]
verdict(c == ["18:00", "18:00", "17:00", "20:00", "21:00"] and n == [0, 0, 0, 0, 1], f"{c} {n}")
