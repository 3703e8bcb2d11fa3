"""Stored market data: snapshots under the hash of their content, with deltas.

Bars, corporate actions and vintages enter and leave. Whether bars can be believed is decided in
`marketdata.quality`.
"""
