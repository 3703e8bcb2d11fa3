"""Generation and selection of features: candidates as formulas, scored on data before a split date.

Bars enter only through `training_part`, which admits nothing after that date. The result is a feature set
with its hash, compared with what chance alone would have found. Results after the date are reported
(`held_out`) and never used.
"""
