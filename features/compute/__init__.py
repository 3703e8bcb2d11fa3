"""Computation of feature sets: in batch, by vintage, or bar by bar.

Bars enter, `FeatureFrame`s or rows leave. Nothing here is stored.
"""
