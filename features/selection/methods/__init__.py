"""Methods of selection: each scores the candidates on the training part.

A method sees nothing after the split date. `method` has them by name.
"""
