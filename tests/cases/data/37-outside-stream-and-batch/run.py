#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""Releases with revisions, withdrawals and late periods: attach, the stream and a search by hand agree at every bar."""
import numpy as np, pyarrow as pa
from datetime import datetime, timedelta, UTC
from alphaloop.bars import BarPanel
from marketdata.source import bars_table
from marketdata.point_in_time.observations import normalise_observations
from marketdata.point_in_time.external_series import attach_series, ExternalSeries
from marketdata.point_in_time.point_in_time_records import PointInTimeRecords
rng = np.random.default_rng(3); n = 200; t = np.datetime64("2024-01-01", "ns") + np.arange(1, n + 1) * np.timedelta64(1, "h")
p = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in np.sort(rng.choice(n * 60, 120, replace=False))]
eff = [x - timedelta(hours=int(h)) for x, h in zip(p, rng.integers(0, 60, 120))]; eff = [e.replace(minute=0, hour=e.hour // 6 * 6) for e in eff]
val = [None if rng.random() < 0.1 else float(v) for v in rng.normal(size=120)]
obs = normalise_observations(pa.table({"series": ["x"] * 120, "published": pa.array(p, pa.timestamp("us", "UTC")), "effective": pa.array(eff, pa.timestamp("us", "UTC")), "value": val}))
cols = {k: np.ones(n) for k in ("open", "high", "low", "close", "volume", "adjustment")}; bars = BarPanel.from_table(bars_table("A", t, cols))
got = attach_series(bars, obs, max_age=timedelta(hours=20)).extra["x"][:, 0]
s = PointInTimeRecords(series=ExternalSeries(obs, (), timedelta(hours=20))); live = np.array([s.annotate_slice(one).extra["x"][0] for one in bars.slices()])
want = []
for moment in t:
    m = moment.astype("datetime64[us]").item().replace(tzinfo=UTC); known = {}
    for a, b, c in zip(p, eff, val):
        if a <= m: known[b] = (a, c)
    if not known: want.append(np.nan); continue
    a, c = known[max(known)]; want.append(np.nan if c is None or m - a > timedelta(hours=20) else c)
want = np.array(want, float)
verdict(np.array_equal(got, want, equal_nan=True) and np.array_equal(live, want, equal_nan=True), f"differ: batch {int((~((got == want) | (np.isnan(got) & np.isnan(want)))).sum())}, stream {int((~((live == want) | (np.isnan(live) & np.isnan(want)))).sum())} of {n}")
