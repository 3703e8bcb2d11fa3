"""Statistics over scores and returns that several packages need.

Plain numpy: nothing here reads a store or depends on a model.
"""
