"""Trading: from a forecast to a fill, by one engine.

Backtest, paper and live trading share the engine. Here live strategies (scores to weights), capital sleeves,
risk limits, execution (netting of orders and allocation of fills), brokers (`trading.brokers`, one file
each), the backtest and recovery.

Clock, feed, forecaster and broker are arguments of the engine, so that a strategy cannot distinguish
backtest, paper and live trading. No model is loaded here, and of serving only `serving.client` is imported.

Bars and forecasts come in; orders go to the broker, and decisions, orders and fills to the journal.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
