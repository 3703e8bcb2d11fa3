import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# 25 to its end: a fill forged behind the last anchor (an order of 100 "filled" at 1) passes verify and is booked at the next start
import sqlite3, numpy as np
from decimal import Decimal
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.journal.chain import chain_hash
from alphaloop.journal.record import canonical_json
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import verify_journal
from alphaloop.bars import to_datetime
from trading.brokers.paper import PaperBroker
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.recovery import restore_engine
from trading.risk.risk_check import RiskCheck, RiskLimits
from alphaloop.allocation import AllocationStrategy
home = fresh("60"); db, an = home / "j.db", home / "a.jsonl"; bars = panel(np.full((6, 4), 100.0)); clock = ReplayClock(to_datetime(bars.timestamps[0]))
def engine(w): return TradingEngine(bars.symbols, PaperBroker(CostModel()), ArrayForecaster(bars.timestamps, bars.symbols, np.zeros((6, 4))), AllocationStrategy(), RiskCheck(RiskLimits(max_weight=1, prediction_deadline_ms=None)), CostModel(), sleeves=("sleeve-00",), capital=1_000_000, clock=clock, journal_writer=w, simulated=False)
with Journal(db, an, clock) as j, j.writer("trading") as w: engine(w).on_bar(bars.at(0)); order = [r.body for r in j.records("trading", "order")][0]
body = canonical_json({"client_order_id": order["client_order_id"], "decision_id": order["decision_id"], "symbol": order["symbol"], "side": "buy", "quantity": order["quantity"], "price": "1.00000000", "cost": "0.00", "filled_at": "2020-01-03T00:00:00+00:00", "quantities": [order["quantity"]], "costs": ["0.00"]})
c = sqlite3.connect(db); seq, at, epoch, prev = c.execute("select seq, at, epoch, hash from records order by seq desc limit 1").fetchone()
c.execute("insert into records values (?,?,?,?,?,?,?,?)", ("trading", seq + 1, at, "fill", epoch, body, prev, chain_hash("trading", seq + 1, at, "fill", epoch, body, prev))); c.commit(); c.close()
v = verify_journal(db, an)[0]
try:
    with Journal(db, an, clock) as j, j.writer("trading") as w:
        e = engine(w); restore_engine(e, j.records("trading")); eq = e.portfolio.equity([Decimal(100)] * 4)
except Exception as err: verdict(True, f"refused: {type(err).__name__}: {err}")
verdict(not v.ok, f"verify: {'whole' if v.ok else v.problem}; equity after the restart {eq:,.0f} of 1,000,000; verify afterwards: {'whole' if verify_journal(db, an)[0].ok else 'broken'}")
