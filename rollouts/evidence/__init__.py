"""Evidence: sequential tests of a challenger against the champion.

Observations come in and a verdict goes out. Nothing here changes a rollout.
"""
