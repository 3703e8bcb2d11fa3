"""The kinds of operators: each says once how a definition becomes batch and stream.

No indicator lives here (see `features.indicators`), and nothing here knows a formula or a name.
Matrices `[T, N]` go in and come out.
"""
