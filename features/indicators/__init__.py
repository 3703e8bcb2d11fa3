"""Indicators, one noun a file, found by the catalogue beside TA-Lib's functions.

No TA-Lib function is repeated here, and no indicator reads a bar that has not closed.
"""
