"""Metrics in Prometheus' text format: code that all metrics pages share.

Values are collected at each scrape from state that is kept anyway. `prometheus_client` comes with the extras
that serve a page, so it is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from alphaloop.rollout_document import RolloutDocument, RolloutState


class MetricsCollector(Protocol):
    """A source of metrics that `prometheus_client` calls at each scrape."""

    def collect(self) -> Iterator[Any]:
        """Yield all metric families."""
        ...


def registry_for(collector: MetricsCollector) -> Any:
    """Create a registry with `collector` alone, which is first called at the first scrape."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def render_metrics(collector: MetricsCollector) -> bytes:
    """Render the current metrics of `collector` in Prometheus' text format."""
    from prometheus_client import generate_latest

    return bytes(generate_latest(registry_for(collector)))


def model_gauge(name: str, text: str, *labels: str) -> Any:
    """Create a gauge with the label `model` and further `labels`."""
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, text, labels=("model", *labels))


def rollout_gauges(prefix: str, documents: Iterable[RolloutDocument]) -> Iterator[Any]:
    """Yield gauges of rollout documents, with names that begin with `prefix`."""
    weight = model_gauge(f"{prefix}_weight", "Share of the sleeves that the challenger answers.")
    generation = model_gauge(f"{prefix}_generation", "Generation of the rollout document.")
    state = model_gauge(f"{prefix}_state", "1 for the state that the rollout is in.", "state")
    info = model_gauge(f"{prefix}_version", "1 for the versions of the rollout.", "role", "version")
    for document in documents:
        name = document.model
        weight.add_metric((name,), document.weight)
        generation.add_metric((name,), document.generation)
        for one in RolloutState:
            state.add_metric((name, one.value), float(one is document.state))
        for role, version in (("champion", document.champion), ("challenger", document.challenger)):
            if version is not None:
                info.add_metric((name, role, version), 1.0)
    yield from (weight, generation, state, info)
