"""Prometheus metrics: what they say, and that no client can make their number grow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import DamagedStoreError
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.protocol.messages import InferenceResponse, Timing, VersionAnswer
from serving.server.gateway import Gateway
from serving.server.histogram import Histogram
from serving.server.metrics import metrics_text
from serving.server.request_statistics import MAX_SERIES, OTHER, RequestStatistics

PREFIX = "alphaloop_serving"
GOOD = np.ones((2, 2, 3), np.float32)


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and its label values (sorted by label)."""
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found[one.name, tuple(value for _, value in sorted(one.labels.items()))] = one.value
    return found


def ask(url: str, model: str, panel: np.ndarray[Any, Any] = GOOD, **options: Any) -> None:
    """One request by tensor; refusals are expected."""
    with triton.InferenceServerClient(url) as client:
        ask_by(client, model, panel, **options)


def ask_by(client: Any, model: str, panel: np.ndarray[Any, Any] = GOOD, **options: Any) -> None:
    """The same over a connection that is there."""
    tensor = triton.InferInput("panel", list(panel.shape), "FP32")
    tensor.set_data_from_numpy(panel)
    with suppress(InferenceServerException):
        client.infer(model, [tensor], **options)


@pytest.fixture
def host(world: Any, shelf: Any) -> Iterator[ProcessHost]:
    """A host with metrics; the shelf's version 2 is a canary of a quarter."""
    shelf.route(
        champion=shelf.add(1.0, 1.0, 1.0), challenger=shelf.add(2.0, 2.0, 2.0),
        state=RolloutState.CANARY, weight=0.25,
    )  # fmt: skip
    settings = world.settings(model=shelf.name, metrics_port=free_port(), poll_seconds=0.05)
    with ProcessHost(settings, free_port()) as started:
        yield started


def scrape(host: ProcessHost) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus would read."""
    with urlopen(host.metrics_url, timeout=10) as page:
        return samples(page.read().decode())


def scrape_at_rest(host: ProcessHost) -> dict[tuple[str, tuple[str, ...]], float]:
    """The same once nothing is under way: what is counted of an answer is counted after it was given."""
    deadline = monotonic() + 5
    while (found := scrape(host))[f"{PREFIX}_in_flight", ()] and monotonic() < deadline:
        sleep(0.01)
    return found


def test_what_metrics_say(host: ProcessHost, shelf: Any) -> None:
    """Latency by phase, sizes, errors by reason, the rollout, and the age of what is known of it."""
    for _ in range(3):
        ask(host.url, shelf.name)
    ask(host.url, shelf.name, GOOD[:, :1])
    ask(host.url, "nothing")
    found = scrape_at_rest(host)
    for phase in ("queue", "features", "inference", "total"):
        labels = (shelf.name, phase, "champion", "1")
        assert found[f"{PREFIX}_latency_seconds_count", labels] == 3
        assert found[f"{PREFIX}_latency_seconds_sum", labels] >= 0
    total = found[f"{PREFIX}_latency_seconds_sum", (shelf.name, "total", "champion", "1")]
    parts = sum(
        found[f"{PREFIX}_latency_seconds_sum", (shelf.name, phase, "champion", "1")]
        for phase in ("queue", "features", "inference")
    )
    assert 0 < parts <= total
    assert found[f"{PREFIX}_batch_symbols_sum", (shelf.name, "champion", "1")] == 6
    assert found[f"{PREFIX}_errors_total", (shelf.name, "invalid")] == 1
    assert found[f"{PREFIX}_errors_total", (OTHER, "unknown")] == 1
    assert found[f"{PREFIX}_rollout_state", (shelf.name, "canary")] == 1
    assert found[f"{PREFIX}_rollout_state", (shelf.name, "steady")] == 0
    assert found[f"{PREFIX}_rollout_weight", (shelf.name,)] == 0.25
    assert found[f"{PREFIX}_rollout_version", (shelf.name, "challenger", "2")] == 1
    assert found[f"{PREFIX}_log_dropped_rows_total", ()] == 0
    assert found[f"{PREFIX}_in_flight", ()] == 0
    assert found[f"{PREFIX}_registry_away", (shelf.name,)] == 0
    assert 0 <= found[f"{PREFIX}_registry_age_seconds", (shelf.name,)] < 5
    assert found[f"{PREFIX}_breaker_state", (shelf.name, "closed", "1")] == 1
    assert found[f"{PREFIX}_breaker_state", (shelf.name, "open", "1")] == 0


def test_clients_cannot_make_series_grow(host: ProcessHost, shelf: Any) -> None:
    """Hundreds of names that nobody knows, of models, versions and sleeves, add no series to one each."""
    ask(host.url, shelf.name)
    ask(host.url, "nothing")
    ask(host.url, shelf.name, model_version="77")
    before = len(scrape(host))
    with triton.InferenceServerClient(host.url) as client:
        for number in range(100):
            ask_by(client, f"nothing-{number}")
            ask_by(client, shelf.name, model_version=str(1_000 + number))
            ask_by(client, shelf.name, parameters={"route_key": f"no sleeve {number}"})
    after = scrape(host)
    # Three hundred requests may meet another kind of refusal, which is one series; names make none.
    assert len(after) <= before + 3
    assert after[f"{PREFIX}_errors_total", (OTHER, "unknown")] > 90
    made_up = {"77", *(str(1_000 + number) for number in range(100))}
    labels = {label for _, values in after for label in values}
    assert not [label for label in labels if label in made_up or label.startswith("nothing")]


def test_many_versions_are_counted_together() -> None:
    """Over a long life old versions cost no more than a bounded number of series."""
    statistics = RequestStatistics()
    for version in range(3 * MAX_SERIES):
        scores = np.zeros(1, np.float32)
        answer = VersionAnswer(scores, (), {"version": str(version), "route": "champion"}, Timing())
        statistics.succeeded(InferenceResponse("m", "", (answer,)), 0.0, 0.001)
        statistics.failed(f"model-{version}", str(version), "internal", 0.1)
    series = statistics.series()
    assert len(series) == MAX_SERIES + 1
    assert sum(one.total.count for _, one in series) == 3 * MAX_SERIES
    assert len(statistics.errors()) <= 64 * 20
    assert len(statistics._failed) == MAX_SERIES


def test_a_registry_that_is_away_is_told(
    serve: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch, world: Any
) -> None:
    """The metric and the readiness details say that the rollout document is not read any more."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    served = serve(shelf)

    def away(model: str) -> None:
        raise DamagedStoreError("the registry is away")

    monkeypatch.setattr(shelf.registry, "rollout", away)
    served.core._router.refresh(shelf.name)
    found = samples(metrics_text(Gateway(served.core, world.settings(model=shelf.name))).decode())
    assert found[f"{PREFIX}_registry_away", (shelf.name,)] == 1
    assert served.core.registry_away == "the registry is away"
    assert served.core.ready


def test_a_histogram_counts_as_prometheus_does() -> None:
    """Bounds are inclusive, buckets cumulative, and the last one is everything."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert (histogram.count, histogram.total) == (5, 14.0)
