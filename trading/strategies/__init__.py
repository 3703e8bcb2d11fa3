"""Strategies: from scores to target weights, one file each, which defines its class as `STRATEGY`."""
