"""Connectors: building blocks shared by venues.

Retries, rate limits, closed bars, trades, order books and session hours. No vendor's SDK is imported here;
each has its one file in `marketdata.sources`.
"""
