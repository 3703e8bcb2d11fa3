"""Settings: one file a section, read from variables, a file and defaults.

A section holds values and their checks. What a value leads to is decided where it is used.
"""
