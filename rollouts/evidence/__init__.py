"""Evidence: sequential tests of a challenger against the champion.

Observations come in and a verdict goes out. Only `rollouts.controller` acts on the verdict.
"""
