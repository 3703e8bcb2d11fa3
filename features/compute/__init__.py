"""Computation of feature sets: in batch or bar by bar.

Bars enter, `FeatureFrame`s or rows leave. Nothing here is stored.
"""
