"""Rules of data quality, one file each; `marketdata.quality.checks` runs them.

A rule is a function over `Rows` that yields `Finding`s. It looks at a bar and at bars before it, never at
later ones, and changes nothing: what follows from a finding is decided in `marketdata.quality.cleaning`.
"""
