"""Feast's side of the store: its connection, its definitions, and what it lacks for Redis.

The repository that Feast's command works on is a folder written by `features.repo.folder`: Feast runs every
Python file that it finds in one, so it is not pointed at this package.
"""
