"""The command line: the `alphaloop` command, its demo and its reports.

Commands turn options into a call of a package and show its answer. Nobody imports this package.
"""
