"""Baselines: families that learn nothing, and that a learned model has to beat."""
