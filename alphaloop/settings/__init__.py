"""Settings: one file per section, read from environment variables, a file and defaults.

A section holds values and their checks. The modules that use a value decide what follows from it.
"""
