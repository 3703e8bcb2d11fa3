"""Files of bars: CSV and Parquet of the user's own, and package data.

Columns, stamps and numbers of such files are read here. Whether the bars can be believed is decided in
`marketdata.quality`.
"""
