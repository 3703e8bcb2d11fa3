from .audit import adopt as adopt
from .audit import replay as replay
from .audit import verify as verify
from .first_champion import crown as crown
from .lineage import Lineage as Lineage
from .lineage import trace as trace
from .market import market_to_trade as market_to_trade
from .provenance import providers as providers
from .turn import Loop as Loop
from .turn import Market as Market
from .turn import Turn as Turn
from .wiring import World as World
from .wiring import open_loop as open_loop
from .workspace import latest_bars as latest_bars
from .workspace import take_snapshot as take_snapshot

__all__ = [
    "Lineage",
    "Loop",
    "Market",
    "Turn",
    "World",
    "adopt",
    "crown",
    "latest_bars",
    "market_to_trade",
    "open_loop",
    "providers",
    "replay",
    "take_snapshot",
    "trace",
    "verify",
]
