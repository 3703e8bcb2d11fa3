#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Thirty kinds of damaged or odd files end in a DataError that names the file, or in bars: never in a traceback."""
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, gzip
from alphaloop.errors import AlphaloopError
from marketdata.quality import checks
from marketdata.sources import registry
good = "date,open,high,low,close,volume\n2019-01-02,1,2,1,1.5,10\n2019-01-03,1,2,1,1.5,10\n"
texts = {"empty": "", "header only": good.splitlines()[0] + "\n", "ragged": good + "2019-01-04,1,2\n", "long row": good + "2019-01-04,1,2,1,1.5,10,99\n", "crlf": good.replace("\n", "\r\n"), "cr": good.replace("\n", "\r"),
 "bom": "\ufeff" + good, "quoted": 'date,close\n"2019-01-02","1,234.5"\n', "semicolon": good.replace(",", ";"), "tab": good.replace(",", "\t"), "blank lines": good.replace("\n", "\n\n"), "no newline": good.rstrip(), "trailing comma": good.replace("\n", ",\n"),
 "decimal comma": 'date,close\n2019-01-02,"1,5"\n', "nul": good + "\0", "total row": good + "Total,,,,3.0,20\n", "dup header": "date,close,close\n2019-01-02,1,2\n", "spaces": "date , close \n2019-01-02 , 1.5 \n", "euro": "date,close\n02.01.2019,1.5\n", "epoch": "timestamp,close\n1546462800,1.5\n", "epoch ms": "timestamp,close\n1546462800000,1.5\n", "year 0001": "date,close\n0001-01-01,1.5\n", "9999": "date,close\n9999-12-31,1.5\n", "minus zero": "date,close\n2019-01-02,-0.0\n", "inf": "date,close\n2019-01-02,inf\n", "1e400": "date,close\n2019-01-02,1e400\n", "quote open": 'date,close\n"2019-01-02,1.5\n', "feb 30": "date,close\n2019-02-30,1\n"}
bad = {}
def look(name, w):
    try:
        checks.check_bars(registry.find_source(f"folder:{w}").history(()), "XNYS")
    except AlphaloopError as e:
        if str(w) not in str(e): bad[name] = f"does not name the file: {e}"
    except BaseException as e:
        bad[name] = f"{type(e).__name__}: {str(e)[:80]}"
for k, t in texts.items(): look(k, folder(A__csv=t))
w = folder(); (w / "A.csv").write_bytes(good.replace("10", "1\xe9").encode("latin-1")); look("latin-1", w)
w = folder(); (w / "A.csv.gz").write_bytes(gzip.compress(good.encode())[:-9]); look("cut gzip", w)
w = folder(); (w / "A.parquet").write_bytes(b"PAR1" + b"\0" * 50); look("broken parquet", w)
tables = {"nested": pa.table({"date": ["2019-01-02"], "close": [[1.0]]}), "bool": pa.table({"date": ["2019-01-02"], "close": [True]}), "no rows": pa.table({"date": pa.array([], pa.string()), "close": pa.array([], pa.float64())}), "all null": pa.table({"date": ["2019-01-02"], "close": pa.nulls(1)}), "time of day": pa.table({"time": pa.array([1], pa.time64("us")), "close": [1.0]}), "duration": pa.table({"date": pa.array([1], pa.duration("s")), "close": [1.0]}), "ints": pa.table({"date": [20190102], "close": [1.0]}), "far": pa.table({"timestamp": pa.array([2**55], pa.timestamp("s", "UTC")), "close": [1.0]}), "view": pa.table({"date": pa.array(["2019-01-02"], pa.string_view()), "close": pa.array(["1.5"], pa.string_view())}), "decimal": pa.table({"date": ["2019-01-02"], "close": pa.array([1], pa.decimal128(9, 2))}), "run-end": pa.table({"date": pa.array(["2019-01-02"]), "close": pa.array([1.5], pa.float16()) })}
for k, t in tables.items():
    w = folder()
    try: pq.write_table(t, w / "A.parquet")
    except Exception as e: continue
    look(k, w)
verdict(not bad, f"{len(bad)} of {len(texts) + 3 + len(tables)}: {bad}")
