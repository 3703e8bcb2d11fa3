"""Bars at rest: files, folders and buckets that are read, and snapshots under the hash of their content.

Tables of bars come in and go out. Whether they can be believed is told by `features.quality`.
"""
