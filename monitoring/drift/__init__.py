"""Drift of features: its distances, thresholds and episodes.

The only importer of Evidently.
"""
