"""Baselines: families that a learned model has to beat."""
