"""Hosts of the inference core: a single process, or Ray Serve."""
