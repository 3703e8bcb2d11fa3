"""The Feast repository: entity and feature view definitions, and nothing else.

Feast scans every Python file under its repository folder, so no other code may live here.
"""
