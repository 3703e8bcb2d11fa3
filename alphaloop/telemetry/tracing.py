"""Traces by OpenTelemetry, if its standard variables are set; otherwise nothing is imported.

`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` turns tracing on, and OpenTelemetry's
other variables (service name, sampler, headers, certificates) have their usual meaning. The context travels
between processes as W3C `traceparent` (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that turn tracing on."""
TRACEPARENT = "traceparent"
SERVICE_NAME = "OTEL_SERVICE_NAME"
FLUSH_MILLISECONDS = 2_000
"""Milliseconds allowed at the end for sending the remaining spans."""
_NOTHING: AbstractContextManager[None] = nullcontext()

_starting = threading.Lock()
_provider: Any = None
_tracer: Any = None


def start_tracing(service: str) -> bool:
    """Start tracing as `service`, if the environment names an endpoint; safe to repeat.

    Returns True if tracing is on.
    """
    global _provider, _tracer  # noqa: PLW0603 - one a process, as OpenTelemetry has it
    if not any(os.environ.get(name) for name in ENDPOINTS) or _is_disabled():
        return False
    with _starting:
        if _tracer is None:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            resource = Resource.create({"service.name": os.environ.get(SERVICE_NAME, service)})
            _provider = TracerProvider(resource=resource)
            _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            _tracer = _provider.get_tracer("alphaloop")
    return True


def stop_tracing() -> None:
    """Send the remaining spans and stop tracing."""
    global _provider, _tracer
    with _starting:
        provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()


def tracing_enabled() -> bool:
    """Return True if spans are recorded."""
    return _tracer is not None


def span(
    name: str,
    parent: str | None = None,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    server: bool = False,
) -> AbstractContextManager[Any]:
    """Open a span around a block, below the current span or below `parent`.

    `parent` is a `traceparent` from another process. An exception that leaves the block is recorded
    on the span.
    """
    tracer = _tracer
    if tracer is None:
        return _NOTHING
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({TRACEPARENT: parent}) if parent else None
    kind = trace.SpanKind.SERVER if server else trace.SpanKind.INTERNAL
    opened: AbstractContextManager[Any] = tracer.start_as_current_span(
        name, context=context, kind=kind, attributes=attributes
    )
    return opened


def current_traceparent() -> str | None:
    """Return the current span as a `traceparent` for another process; None while tracing is off."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT)


def _is_disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or (
        os.environ.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none"
    )
