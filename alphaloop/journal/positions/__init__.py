"""Positions among the bars: the newest bar of each source, and the last one that each part is done with.

They say where a part goes on and when a replay may, and are no history: that stands in the records.
"""
