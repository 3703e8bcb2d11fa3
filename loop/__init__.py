"""The loop: one bar's turn through all packages, order lineage and audit.

Usable as a library. Whatever the loop needs is wired here (`wiring`); nothing here prints or parses options.

Settings come in; a running loop, its journal and answers about it go out.
"""
