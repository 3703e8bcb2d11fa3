"""Indicators, one noun a file: what the catalogue finds by name beside TA-Lib's functions.

No TA-Lib function is repeated here, and no indicator looks at a bar that has not closed.
"""
