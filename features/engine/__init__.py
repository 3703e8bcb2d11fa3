"""The engine: graphs of operators behind features, in batch and stream.

Operators, indicators' interface, coarser bars and warm-up live here. Nothing here knows a store, a formula's
text or the list of indicators.
"""
