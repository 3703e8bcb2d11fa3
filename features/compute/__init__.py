"""Computation: a feature set over bars, at once, by vintage, or bar by bar.

Bars come in and `FeatureFrame`s or rows go out. Nothing here is stored.
"""
