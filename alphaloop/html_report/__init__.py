"""HTML reports: a self-contained page without a script, and its charts as SVG.

Pure functions from values to HTML text; nothing here reads a store or writes a file.
"""
