"""Strategies: from scores to target weights, one file each."""
