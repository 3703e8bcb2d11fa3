"""Metrics in Prometheus' text format: what every page of ours has in common.

A collector is gathered when it is asked for, from what is kept anyway. `prometheus_client` comes with
the extras that serve a page, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from alphaloop.rollout_document import RolloutDocument, RolloutState


class Collects(Protocol):
    """What `prometheus_client` asks at each scrape."""

    def collect(self) -> Iterator[Any]:
        """All families of metrics."""
        ...


def registry_of(collector: Collects) -> Any:
    """A registry with `collector` alone, which is first asked at the first scrape."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def page(collector: Collects) -> bytes:
    """What `collector` says now, as Prometheus reads it."""
    from prometheus_client import generate_latest

    return bytes(generate_latest(registry_of(collector)))


def gauge(name: str, text: str, *labels: str) -> Any:
    """A gauge of models, with `labels` beside the model's name."""
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, text, labels=("model", *labels))


def rollouts(prefix: str, documents: Iterable[RolloutDocument]) -> Iterator[Any]:
    """What rollout documents say, as gauges whose names begin with `prefix`."""
    weight = gauge(f"{prefix}_weight", "Share of the sleeves that the challenger answers.")
    generation = gauge(f"{prefix}_generation", "Generation of the rollout document.")
    state = gauge(f"{prefix}_state", "1 for the state that the rollout is in.", "state")
    info = gauge(f"{prefix}_version", "1 for the versions of the rollout.", "role", "version")
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
