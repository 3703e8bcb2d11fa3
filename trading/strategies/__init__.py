"""Strategies: from scores to the weights wanted, one file each."""
