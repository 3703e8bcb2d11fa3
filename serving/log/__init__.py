"""Prediction log: one Parquet row for every prediction, and its reader.

Serving writes the log; rollouts and monitoring read it with `reader`.
"""
