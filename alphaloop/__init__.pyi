from .allocation import AllocationStrategy as AllocationStrategy
from .allocation import next_weights as next_weights
from .bars import BARS_SCHEMA as BARS_SCHEMA
from .bars import Bar as Bar
from .bars import BarPanel as BarPanel
from .bars import Slice as Slice
from .clock import Clock as Clock
from .clock import ReplayClock as ReplayClock
from .clock import SystemClock as SystemClock
from .costs import CostModel as CostModel
from .decision.book_limits import BookLimits as BookLimits
from .decision.modelled_book import ModelledBook as ModelledBook
from .decision.returns import bar_returns as bar_returns
from .decision.returns import forward_returns as forward_returns
from .decision.strategy import Strategy as Strategy
from .decision.strategy import StrategyIdentity as StrategyIdentity
from .decision.strategy import StrategyView as StrategyView
from .errors import AlphaloopError as AlphaloopError
from .errors import DataError as DataError
from .forecasts import Forecast as Forecast
from .forecasts import RoutedForecasts as RoutedForecasts
from .instruments import Instrument as Instrument
from .journal.store import Journal as Journal
from .orders import Fill as Fill
from .orders import Order as Order
from .orders import Side as Side
from .settings.settings import Settings as Settings
from .settings.settings import load_settings as load_settings
from .statistics.information_coefficient import information_coefficient as information_coefficient
from .statistics.information_coefficient import information_coefficients as information_coefficients
from .statistics.newey_west import newey_west_tstat as newey_west_tstat

__version__: str

__all__ = [
    "BARS_SCHEMA",
    "AllocationStrategy",
    "AlphaloopError",
    "Bar",
    "BarPanel",
    "BookLimits",
    "Clock",
    "CostModel",
    "DataError",
    "Fill",
    "Forecast",
    "Instrument",
    "Journal",
    "ModelledBook",
    "Order",
    "ReplayClock",
    "RoutedForecasts",
    "Settings",
    "Side",
    "Slice",
    "Strategy",
    "StrategyIdentity",
    "StrategyView",
    "SystemClock",
    "bar_returns",
    "forward_returns",
    "information_coefficient",
    "information_coefficients",
    "load_settings",
    "newey_west_tstat",
    "next_weights",
]
