"""Stored market data: snapshots under the hash of their content, and their deltas.

Bars, corporate actions and vintages come in and go out. Whether bars can be believed is told by
`marketdata.quality.checks`.
"""
