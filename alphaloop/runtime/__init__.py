"""Processes and files: children, ports, package roots, atomic files, circuit breakers.

Nothing of markets, models or money lives here.
"""
