#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Bombay traded on Saturday 2025-02-01 (budget) and not on 2024-01-22 but on Saturday 2024-01-20 (exchange_calendars 479, 471)."""
from datetime import date
from marketdata.calendars import session_closes
import numpy as np
a = session_closes(date(2025, 2, 1), date(2025, 2, 1), "XBOM"); b = session_closes(date(2024, 1, 20), date(2024, 1, 22), "XBOM")
verdict(len(a) == 1 and len(b) == 1, f"sessions on 2025-02-01: {len(a)}; from 2024-01-20 to -22: {b}")
