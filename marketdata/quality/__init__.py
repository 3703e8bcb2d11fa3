"""Data quality: rules, their findings, and the policies applied to them.

Tables of bars come in, and findings or cleaned tables go out (`checks`, `cleaning`). Nothing here asks a
venue or writes a snapshot.
"""
