"""Connectors: what sources share, whoever the venue is.

Retries, rate limits, closed bars, trades, order books and session hours. No vendor's library is imported
here; each has its one file in `marketdata.sources`.
"""
