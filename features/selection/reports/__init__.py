"""Reports of a selection: the chosen set, the ranking, and a page.

Nothing is chosen here.
"""
