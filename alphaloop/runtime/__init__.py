"""Processes and files: children, ports, package roots, atomic files, credentials, circuit breakers.

Nothing about markets, models or money lives here.
"""
