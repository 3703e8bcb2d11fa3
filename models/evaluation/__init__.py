"""Evaluation: scores out of sample, their worth, and the gate that judges.

Nothing here trains a final model or writes to the registry.
"""
