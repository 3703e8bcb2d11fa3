"""The commands, one file a verb: options and help, a few lines that call a room, and the answer shown.

Typer is all that is imported at the top of these files: everything else loads inside the functions,
so that `--help` answers at once.
"""
