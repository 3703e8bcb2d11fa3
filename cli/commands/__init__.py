"""Commands, one file a verb: options and help, a few lines that call a package, and the output.

Only Typer is imported at the top of these files; everything else is imported inside the functions, so that
`--help` answers at once.
"""
