"""Point-in-time data: dated records with the moment at which each was published.

Corporate actions, memberships of universes, reference data and external series, and the source of bars to
which a workspace attaches them. Nothing here reads a record that was published after the moment in question.
No feature is defined here.
"""
