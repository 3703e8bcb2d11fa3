"""The formula language: features written as one line of text.

Holds the path from text to a column of the graph (`tokens`, `syntax`, `parser`, `compiler`), the built-in
functions (`functions`), the canonical printer (`printer`) and the errors (`formula_error`). Must not hold
indicators, which formulas look up through the `resolve` callable of the caller, and must never run text as
Python. Text enters through `parser.parse_formula`; columns leave through `compiler`.
"""
