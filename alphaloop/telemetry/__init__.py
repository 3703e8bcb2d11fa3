"""Telemetry: traces by OpenTelemetry, and Prometheus' text format.

Metrics of a part are kept by that part; here is only what all pages have in common.
"""
