#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Parquet with dates as text YYYYMMDD (as tushare gives them): a last day must not drop rows before it."""
import pyarrow as pa, pyarrow.parquet as pq
d = days(60); where = folder()
rows = walk(60)
for form in ("basic", "iso"):
    (where / form).mkdir()
    text = [x.replace("-", "") if form == "basic" else x for x in d]
    pq.write_table(pa.table({"symbol": ["AAA"] * 60, "date": text, "close": [r[3] for r in rows]}), where / form / "bars.parquet")
from datetime import datetime, UTC
from marketdata.sources import registry
n = {f: registry.find_source(f"folder:{where}/{f}").history((), None, datetime(2019, 3, 1, tzinfo=UTC)).num_rows for f in ("basic", "iso")}
verdict(n["basic"] == n["iso"] > 0, f"rows up to 2019-03-01: basic dates {n['basic']}, ISO dates {n['iso']}")
