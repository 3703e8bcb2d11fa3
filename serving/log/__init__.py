"""The prediction log: every prediction as a row of Parquet, with its reader.

Serving writes it; whoever weighs evidence reads it (`reader`).
"""
