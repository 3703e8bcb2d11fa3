from .audit import adopt_records as adopt_records
from .audit import audit_journal as audit_journal
from .audit import replay_order as replay_order
from .decision_replay import ReplayedDecision as ReplayedDecision
from .decision_replay import replay_decisions as replay_decisions
from .first_champion import crown_first_champion as crown_first_champion
from .lineage import Lineage as Lineage
from .lineage import trace_order as trace_order
from .market import market_to_trade as market_to_trade
from .provenance import order_providers as order_providers
from .turn import Loop as Loop
from .turn import ReplayMarket as ReplayMarket
from .turn import Turn as Turn
from .wiring import LoopContext as LoopContext
from .wiring import open_loop as open_loop
from .workspace import latest_bars as latest_bars
from .workspace import take_snapshot as take_snapshot

__all__ = [
    "Lineage",
    "Loop",
    "LoopContext",
    "ReplayMarket",
    "ReplayedDecision",
    "Turn",
    "adopt_records",
    "audit_journal",
    "crown_first_champion",
    "latest_bars",
    "market_to_trade",
    "open_loop",
    "order_providers",
    "replay_decisions",
    "replay_order",
    "take_snapshot",
    "trace_order",
]
