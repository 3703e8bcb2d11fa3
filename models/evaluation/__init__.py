"""Evaluation: out-of-sample scores, their statistics, and the promotion gate.

Nothing here trains a final model or writes to the registry.
"""
