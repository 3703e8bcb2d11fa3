"""Trading: from a forecast to a fill.

Here live the strategy (forecast to target), the portfolio of sleeves, risk limits, execution
(netting and allocation of fills), the brokers (`trading.brokers`, one file each) and the one engine
that backtest, paper and live share.

A strategy cannot tell which of the three it runs in: clock, feed and broker are given to the engine
from outside. No model is loaded here; forecasts come from `serving.client.client`.

Forecasts and bars come in; orders, fills and decisions go out to the journal.
"""
