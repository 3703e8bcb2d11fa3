"""Sequence models over the last rows of features, one file each."""
