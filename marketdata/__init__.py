"""Market data: where bars come in and are believed, or not.

Here live the sources (`marketdata.sources`, one file a venue), what venues share (`connectors`), feeds of
several providers, files of the user's own, data quality, stored snapshots, and what was known at which
time (`point_in_time`). No feature is computed here.

Bars come in from venues and files; checked slices and hashed snapshots go out.
"""
