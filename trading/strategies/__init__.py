"""Strategies: from scores to target weights, one file each, which defines its class as `STRATEGY`.

A strategy of the user's is a file that the setting `plugins` names; see docs/tutorials/own-strategy.md.
"""
