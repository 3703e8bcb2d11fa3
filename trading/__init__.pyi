from .backtest import BacktestResult as BacktestResult
from .backtest import Metrics as Metrics
from .backtest import equal_weight as equal_weight
from .backtest import metrics as metrics
from .backtest import momentum_12_1 as momentum_12_1
from .broker import Broker as Broker
from .broker import find as find
from .brokers.paper import PaperBroker as PaperBroker
from .decision import Decision as Decision
from .decision import DecisionInputs as DecisionInputs
from .decision import decide as decide
from .engine import BarOutcome as BarOutcome
from .engine import TradingEngine as TradingEngine
from .execution.sleeves import Sleeves as Sleeves
from .forecaster import ArrayForecaster as ArrayForecaster
from .forecaster import Forecaster as Forecaster
from .forecaster import ServedForecaster as ServedForecaster
from .recovery import restore as restore
from .risk.risk_check import Refusal as Refusal
from .risk.risk_check import RiskCheck as RiskCheck
from .risk.risk_check import RiskLimits as RiskLimits
from .strategies.allocation import AllocationStrategy as AllocationStrategy

__all__ = [
    "AllocationStrategy",
    "ArrayForecaster",
    "BacktestResult",
    "BarOutcome",
    "Broker",
    "Decision",
    "DecisionInputs",
    "Forecaster",
    "Metrics",
    "PaperBroker",
    "Refusal",
    "RiskCheck",
    "RiskLimits",
    "ServedForecaster",
    "Sleeves",
    "TradingEngine",
    "decide",
    "equal_weight",
    "find",
    "metrics",
    "momentum_12_1",
    "restore",
]
