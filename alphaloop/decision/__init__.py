"""Decisions: limits, prices and returns that gate, backtest and live share.

Pure functions and values only. Orders are made in `trading`, and nothing here knows a model or a server.
"""
