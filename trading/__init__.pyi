from .backtest import BacktestResult as BacktestResult
from .backtest import PerformanceMetrics as PerformanceMetrics
from .backtest import equal_weight as equal_weight
from .backtest import momentum_12_1 as momentum_12_1
from .backtest import performance_metrics as performance_metrics
from .broker import Broker as Broker
from .broker import find_broker as find_broker
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
from .recovery import restore_engine as restore_engine
from .risk.risk_check import Refusal as Refusal
from .risk.risk_check import RiskCheck as RiskCheck
from .risk.risk_check import RiskLimits as RiskLimits
from .strategy import configured_strategy as configured_strategy
from .strategy import find_strategy as find_strategy

__all__ = [
    "ArrayForecaster",
    "BacktestResult",
    "BarOutcome",
    "Broker",
    "Decision",
    "DecisionInputs",
    "Forecaster",
    "PaperBroker",
    "PerformanceMetrics",
    "Refusal",
    "RiskCheck",
    "RiskLimits",
    "ServedForecaster",
    "Sleeves",
    "TradingEngine",
    "configured_strategy",
    "decide",
    "equal_weight",
    "find_broker",
    "find_strategy",
    "momentum_12_1",
    "performance_metrics",
    "restore_engine",
]
