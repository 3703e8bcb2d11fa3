"""Data quality: rules, their findings, and what follows from them.

Tables of bars come in, and findings or cleaned tables go out (`checks`, `cleaning`). Nothing here asks a
venue or writes a snapshot.
"""
