"""Feast's side of the store: its connection, its definitions, and its Redis store.

The repository that Feast's command works on is a separate folder, written by `features.store.feast.folder`,
because Feast runs every Python file in it.
"""
