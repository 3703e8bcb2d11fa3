"""Validation: power, size and planted faults of the rollout's rules.

Runs the rules that decide real rollouts on simulated ones; reads bars and settings, and writes nothing.
"""
