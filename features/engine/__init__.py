"""The engine: graphs of operators behind features, for batch and stream.

Holds operators, the indicator interface, coarser bars and warm-up. Must not depend on a store, on formula
text or on the list of indicators.
"""
