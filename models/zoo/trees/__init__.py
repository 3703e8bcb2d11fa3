"""Families of decision trees, one file each."""
