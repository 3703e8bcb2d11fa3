#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""The product's own data set without its adjustment: the three splits that its file's docstring names (AAPL 2000-06-21, 2005-02-28, MSFT 2003-02-18) are errors."""
import numpy as np, pyarrow as pa
from marketdata.sources.registry import find_source
from marketdata.quality import checks
t = find_source("us-tech-ohlcv").history(("AAPL", "MSFT")); i = t.schema.get_field_index("adjustment")
found = [(f.symbol, f.timestamp[:10], f.rule, f.severity) for f in checks.check_bars(t.set_column(i, t.schema.field(i), pa.array(np.ones(t.num_rows))), "XNYS")]
known = [("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")]
said = {k: [(r, s) for a, b, r, s in found if (a, b) == k] for k in known}
verdict(all(any(s == "error" for _, s in v) for v in said.values()), f"{said}")
