#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Tokyo closes at 15:30 from 2024-11-05 on, at 15:00 before: a bare date is that moment."""
from datetime import date
from marketdata.calendars import closes_of
c = closes_of([date(2024, 11, 1), date(2024, 11, 5)], "XTKS")
verdict([str(x)[11:16] for x in c] == ["06:00", "06:30"], f"{c}")
