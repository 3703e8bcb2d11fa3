"""Point-in-time data: dated records with the moment at which each was published.

Corporate actions, vintages of bars, memberships of universes, reference data and external series. Nothing
here reads a record that was published after the moment in question. No feature is defined here.
"""
