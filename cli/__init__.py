"""The command line: the `alphaloop` command, its demo and its reports.

A command turns options into a call of a package and prints the result as tables or JSON. Logic lives in the
packages below, and no package imports this one.
"""
