"""Rules of data quality, one file each; `marketdata.quality.checks` runs them.

A rule is a function over `Rows` that yields `Finding`s. It looks at a bar and at earlier bars, never at
later ones, and changes nothing: consequences are decided in `marketdata.quality.cleaning`.
"""
