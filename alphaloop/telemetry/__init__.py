"""Telemetry: traces by OpenTelemetry, and metrics in Prometheus' text format.

Each part defines its own metrics; here is only the code that all metrics pages share.
"""
