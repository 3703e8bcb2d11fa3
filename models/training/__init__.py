"""Training: from features and labels to a registered version, with tuning.

The only importer of Ray Tune.
"""
