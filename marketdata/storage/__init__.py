"""Stored market data: snapshots under the hash of their content, with deltas.

Bars enter and leave. Whether bars can be believed is decided in
`marketdata.quality`.
"""
