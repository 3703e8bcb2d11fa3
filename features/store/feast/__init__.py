"""Feast's side of the store: its connection, its definitions, and its Redis.

The repository that Feast's command works on is a folder written by `features.store.feast.folder`: Feast runs
every Python file in it.
"""
