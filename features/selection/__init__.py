"""Generation and selection of features: candidates as formulas, scored on the past before a split date.

Bars come in through `training_part` alone, which lets nothing after that date in; what has been chosen
goes out as a feature set with its hash, beside what chance alone would have found. What happened after
the date is shown (`held_out`) and never used.
"""
