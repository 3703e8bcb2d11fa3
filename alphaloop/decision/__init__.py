"""Decisions: limits, prices and returns shared by promotion gate, backtest and live trading.

Pure functions and values only. Orders are made in `trading`; nothing here depends on a model or a server.
"""
