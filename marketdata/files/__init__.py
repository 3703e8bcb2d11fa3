"""Files of bars: the user's own CSV and Parquet, and data files in packages.

Columns, stamps and numbers of such files are parsed here. Whether the bars can be believed is decided in
`marketdata.quality`.
"""
