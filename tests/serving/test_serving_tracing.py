"""One trace from the client to ONNX, sent to a collector that speaks OTLP; and no cost without one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from tritonclient import grpc as triton
from tritonclient import http as triton_http

from alphaloop.runtime.processes import child_environment, free_port
from alphaloop.telemetry import tracing
from serving.hosts.process import ProcessHost

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:
        """OTLP's only call for traces."""
        for resource in request.resource_spans:
            for attribute in resource.resource.attributes:
                if attribute.key == "service.name":
                    self.services.add(attribute.value.string_value)
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on loopback, to which the standard variables point."""
    made, server = Collector(), grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    yield made
    tracing.stop_tracing()
    server.stop(0)


def infer(library: Any, client: Any, model: str, headers: dict[str, str]) -> None:
    """One request as part of a trace."""
    tensor = library.InferInput("panel", [1, 2, 3], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 2, 3), np.float32))
    client.infer(model, [tensor], headers=headers)


def test_one_trace_from_client_to_onnx(world: Any, shelf: Any, collector: Collector) -> None:
    """A W3C traceparent, over gRPC and over HTTP, is continued down to the run of the graph."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    settings = world.settings(model=shelf.name, http_port=free_port())
    with ProcessHost(settings, free_port()) as host:
        with triton.InferenceServerClient(host.url) as client:
            infer(triton, client, shelf.name, {"traceparent": TRACEPARENT})
        with triton_http.InferenceServerClient(host.http_url) as client:
            infer(triton_http, client, shelf.name, {"traceparent": TRACEPARENT})
    spans = {one.span_id: one for one in collector.spans}
    roots = [one for one in spans.values() if one.name == "ModelInfer"]
    assert len(roots) == 2
    for root in roots:
        assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
        children = {one.name for one in spans.values() if one.parent_span_id == root.span_id}
        assert children == {"features", "onnx"}
        facts = {one.key: one.value for one in root.attributes}
        assert facts["alphaloop.model"].string_value == shelf.name
        assert facts["alphaloop.symbols"].int_value == 1
    assert collector.services == {"alphaloop"}


def test_the_context_travels_on(collector: Collector) -> None:
    """`traceparent` names the current span, so that the next process continues it."""
    assert tracing.start_tracing("a-service")
    with tracing.span("outer", TRACEPARENT):
        text = tracing.current_traceparent()
    assert text is not None
    version, trace, span, _ = text.split("-")
    assert (version, trace) == ("00", TRACE)
    assert span != PARENT


def test_without_the_variables_nothing_is_imported() -> None:
    """In a fresh process no part of OpenTelemetry is loaded, and a span is nothing."""
    program = (
        "import sys; from alphaloop.telemetry import tracing as telemetry\n"
        "on = telemetry.start_tracing('x')\n"
        "with telemetry.span('a', 'b'): pass\n"
        "print(on, telemetry.current_traceparent(), any(m.startswith('opentelemetry') for m in sys.modules))"
    )
    environment = {name: value for name, value in child_environment().items() if not name.startswith("OTEL_")}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "None", "False"]


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_the_standard_switches_turn_it_off(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """OpenTelemetry's own switches mean here what they mean elsewhere."""
    monkeypatch.setenv(name, value)
    assert not tracing.start_tracing("a-service")
    assert not tracing.tracing_enabled()
