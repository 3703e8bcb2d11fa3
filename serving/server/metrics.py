"""Prometheus metrics, computed at each scrape from the server's own counters.

Labels hold only names of existing models and versions, routes and reasons: their number is bounded
(see `serving.server.request_statistics`), whatever clients send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from alphaloop.clock import Clock, SystemClock, monotonic
from alphaloop.runtime.circuit_breaker import BreakerState
from alphaloop.telemetry.prometheus import model_gauge, render_metrics, rollout_gauges
from serving.server.gateway import Gateway

NAMESPACE = "alphaloop_serving"
LABELS = ("model", "version", "route")


class ServingMetrics:
    """Collector for `prometheus_client`, read at each scrape; changes nothing."""

    def __init__(self, gateway: Gateway, clock: Clock | None = None) -> None:
        self._gateway, self._clock = gateway, clock or SystemClock()

    def collect(self) -> Iterator[Any]:
        """Yield all metric families."""
        yield from self._latencies()
        yield from self._counts()
        yield from self._rollouts()
        yield self._breakers()

    def _latencies(self) -> Iterator[Any]:
        from prometheus_client.core import HistogramMetricFamily

        latency = HistogramMetricFamily(
            f"{NAMESPACE}_latency_seconds",
            "Seconds of a request by phase: queue, features, inference, and total (the whole request).",
            labels=("phase", *LABELS),
        )
        sizes = HistogramMetricFamily(
            f"{NAMESPACE}_batch_symbols",
            "Symbols scored in one model run: of one request, or of a batch.",
            labels=LABELS,
        )
        for labels, series in self._gateway.statistics.series():
            for phase, histogram in series.phases():
                latency.add_metric((phase, *labels), histogram.cumulative(), histogram.total)
            sizes.add_metric(labels, series.sizes.cumulative(), series.sizes.total)
        yield latency
        yield sizes

    def _counts(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        gateway = self._gateway
        yield GaugeMetricFamily(f"{NAMESPACE}_in_flight", "Requests in flight.", gateway.admission.in_flight)
        yield GaugeMetricFamily(
            f"{NAMESPACE}_in_flight_limit",
            "Maximum number of requests in flight; more are refused.",
            gateway.admission.limit,
        )
        errors = CounterMetricFamily(
            f"{NAMESPACE}_errors", "Requests that were not answered, by reason.", labels=("model", "reason")
        )
        for labels, count in gateway.statistics.errors():
            errors.add_metric(labels, count)
        yield errors
        yield CounterMetricFamily(
            f"{NAMESPACE}_log_dropped_rows",
            "Rows that the prediction log dropped.",
            gateway.core.dropped_rows,
        )

    def _rollouts(self) -> Iterator[Any]:
        age = model_gauge(
            f"{NAMESPACE}_registry_age_seconds", "Seconds since the rollout document was last read."
        )
        away = model_gauge(f"{NAMESPACE}_registry_away", "1 while the registry cannot be read.")
        bar = model_gauge(
            f"{NAMESPACE}_feature_age_seconds",
            "Seconds since the close of the bar whose features were last read.",
        )
        tables = self._gateway.core.tables
        for table in tables:
            age.add_metric((table.document.model,), monotonic() - table.read_at)
            away.add_metric((table.document.model,), float(table.stale is not None))
        for model, moment in self._gateway.core.feature_bars.items():
            bar.add_metric((model,), (self._clock.now() - moment).total_seconds())
        yield from (
            age,
            away,
            bar,
            *rollout_gauges(f"{NAMESPACE}_rollout", [table.document for table in tables]),
        )

    def _breakers(self) -> Any:
        states = model_gauge(
            f"{NAMESPACE}_breaker_state", "1 for the present state of a version's circuit breaker.",
            "version", "state",
        )  # fmt: skip
        for (model, version), state in self._gateway.core.breakers.states().items():
            for possible in BreakerState:
                states.add_metric((model, version, possible.value), float(possible is state))
        return states


def metrics_text(gateway: Gateway) -> bytes:
    """Return the page that Prometheus scrapes, in its text format."""
    return render_metrics(ServingMetrics(gateway))


def metrics_route(gateway: Gateway) -> Any:
    """Build the route of `/metrics`. The page names models and versions, and holds no secret."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def metrics(request: Request) -> Response:
        content = await asyncio.to_thread(metrics_text, gateway)
        return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Route("/metrics", metrics)


def metrics_application(gateway: Gateway) -> Any:
    """Build an ASGI application with `/metrics`, `/livez` and `/readyz`."""
    from starlette.applications import Starlette

    app = Starlette(routes=[metrics_route(gateway), *gateway.health.routes()])
    app.router.redirect_slashes = False
    return app
