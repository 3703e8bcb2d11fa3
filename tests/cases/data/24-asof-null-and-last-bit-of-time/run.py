#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""The offline join gives what was written at the last row at or before, null included (duckdb 18303), and nothing from 1 ns later."""
import numpy as np, pyarrow as pa
from features.compute.batch import FeatureFrame
from features.store.offline_files import OfflineFiles
t = np.array(["2024-01-02T21:00", "2024-01-03T21:00", "2024-01-04T21:00"], "datetime64[ns]")
v = np.array([1.0, np.nan, 3.0], np.float32).reshape(3, 1, 1)
f = OfflineFiles(str(folder())); f.write(FeatureFrame(t, ("A",), ("x",), v, "h"), "features")
ask = np.array([t[0], t[1], t[1] + np.timedelta64(1, "h"), t[2] - np.timedelta64(1, "us"), t[2], t[2] + np.timedelta64(30, "h")])
got = f.join(pa.table({"symbol": ["A"] * 6, "timestamp": pa.array(ask, pa.timestamp("ns", tz="UTC"))}), ("x",))["x"].to_pylist()
verdict(got == [1.0, None, None, None, 3.0, None], f"{got}")
