"""Selection methods: each scores the candidates on the training part.

A method reads nothing after the split date. `method` lists them by name.
"""
