"""Point-in-time data: what was known, and when.

Dated corporate actions, vintages of bars, membership of universes, reference data and series from outside,
each with the moment at which it was published. No feature is defined here, and nothing here reads what was
published after the moment that is asked about.
"""
