"""Revisions of the journal's tables, one file each, in order."""
