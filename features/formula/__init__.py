"""The formula language: features written as one line of text.

What lives here: the text's way to a column of the graph (`tokens`, `syntax`, `parser`, `meaning`), the
functions built into the language (`functions`), its one spelling (`spelling`) and its errors
(`errors`). What may not: indicators, which formulas find by name through a `resolve` given from
outside, and anything that runs text as Python. Text enters through `parser.parse`, columns leave
through `meaning.column`.
"""
