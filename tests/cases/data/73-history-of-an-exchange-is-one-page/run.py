#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""`features build` on ccxt:binance takes all days that the exchange has (3,000 here), as it does on alpaca and yahoo; not one page in silence."""
from datetime import datetime, UTC
from types import SimpleNamespace as N
from alphaloop.clock import ReplayClock
from marketdata.sources.ccxt.source import CcxtSource
from marketdata.storage import incremental
from marketdata.storage.snapshots import SnapshotStore
DAY = 86_400_000; born = int(datetime(2018, 1, 1, tzinfo=UTC).timestamp() * 1000); now = datetime(2026, 3, 20, 12, tzinfo=UTC); asked = []; series = walk(3100, 9000.0, 0.02)
async def fetch(symbol, frequency, since, limit):
    asked.append(since); first = max(born, -(-since // DAY) * DAY)
    rows = [[t, *series[(t - born) // DAY]] for t in range(first, int(now.timestamp() * 1000), DAY)]
    return rows[:limit]
class Fake:
    provider = "ccxt:binance"; api = N(features={"spot": {"fetchOHLCV": {"limit": 1000}}}, fetch_ohlcv=fetch, timeframes={"1d": "1d"})
    async def __aenter__(self): return self
    async def __aexit__(self, *_): pass
    async def markets(self): return {"BTC/USDT": {"active": True}}
    async def call(self, what, function, *a): return await function(*a)
source = CcxtSource("binance", clock=ReplayClock(now)); source._connect = Fake
made = incremental.store_base_snapshot(SnapshotStore(folder()), source, ("BTC/USDT",))
verdict(made.rows >= 2999, f"{made.rows} of 3000 days are in the snapshot, first {made.first.date()}; {len(asked)} request; no setting names a start")
