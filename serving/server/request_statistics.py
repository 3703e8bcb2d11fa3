"""Statistics of the server: answers by version and route, errors by reason.

The same counters serve Triton's statistics and Prometheus. Only the event loop writes them, without locks;
other threads read. Names that no registry knows are counted as `other`, so that no client can make the number
of series grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from alphaloop.clock import SystemClock
from serving.protocol.messages import InferenceResponse
from serving.protocol.status import REASONS
from serving.server.histogram import SIZE_BOUNDS, Histogram

OTHER = "other"
PHASES = ("queue", "features", "inference", "total")
# More versions than are loaded at a time; further ones in a long life are counted together.
MAX_SERIES = 64
MAX_MODELS = 64


@dataclass(frozen=True, slots=True)
class Duration:
    """Number of events, and their total time in nanoseconds."""

    count: int
    ns: int


class RouteStatistics:
    """Answers of one version by one route: a histogram of seconds for each of `PHASES`."""

    __slots__ = ("features", "inference", "last_ms", "queue", "sizes", "total")

    def __init__(self) -> None:
        self.queue, self.features, self.inference, self.total = (Histogram() for _ in PHASES)
        self.sizes = Histogram(SIZE_BOUNDS)
        self.last_ms = 0

    def phases(self) -> list[tuple[str, Histogram]]:
        """Return the histograms with the phases' names."""
        return [(name, getattr(self, name)) for name in PHASES]


@dataclass(slots=True)
class VersionStatistics:
    """Triton's statistics of one version; `last_inference` is in milliseconds since 1970."""

    model: str
    version: str
    series: list[RouteStatistics] = field(default_factory=list)
    failed: Duration = field(default_factory=lambda: Duration(0, 0))

    @property
    def last_inference(self) -> int:
        """Time of the last answer, in milliseconds since 1970."""
        return max((series.last_ms for series in self.series), default=0)

    @property
    def answered(self) -> int:
        """Number of requests answered."""
        return sum(series.total.count for series in self.series)

    @property
    def executions(self) -> int:
        """Number of model runs: below the number of requests if some were batched."""
        return sum(series.sizes.count for series in self.series)

    @property
    def inferences(self) -> int:
        """Number of symbols scored."""
        return int(sum(series.sizes.total for series in self.series))

    def durations(self) -> dict[str, Duration]:
        """Return the durations by field of Triton's `InferStatistics`."""
        return {
            "success": self._sum("total"),
            "fail": self.failed,
            "queue": self._sum("queue"),
            "compute_input": self._sum("features"),
            "compute_infer": self._sum("inference"),
            "compute_output": Duration(self.answered, 0),
        }

    def _sum(self, phase: str) -> Duration:
        histograms: list[Histogram] = [getattr(one, phase) for one in self.series]
        return Duration(sum(one.count for one in histograms), int(sum(one.total for one in histograms) * 1e9))


class RequestStatistics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str], RouteStatistics] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], Duration] = {}
        self._clock = SystemClock()

    def succeeded(self, response: InferenceResponse, arrived: float, total: float) -> None:
        """Count the answers of a response that took `total` seconds.

        `arrived` is on `alphaloop.clock.monotonic`.
        """
        now_ms = int(self._clock.now().timestamp() * 1e3)
        for answer in response.answers:
            key = (response.model, answer.version, answer.route)
            series = self._series.get(key)
            if series is None:
                series = self._open(key)
            timing = answer.timing
            series.queue.observe(timing.started - arrived)
            series.features.observe(timing.features)
            series.inference.observe(timing.inference)
            series.total.observe(total)
            if timing.scored_symbols:
                series.sizes.observe(timing.scored_symbols)
            series.last_ms = now_ms

    def failed(self, model: str, version: str, reason: str, seconds: float) -> None:
        """Count a refusal or failure; `model` and `version` must exist, or be `OTHER`."""
        if (model, reason) not in self._errors and len(self._errors) >= MAX_MODELS * len(REASONS):
            model = OTHER
        self._errors[model, reason] = self._errors.get((model, reason), 0) + 1
        if version and (version != OTHER):
            before = self._failed.get((model, version), Duration(0, 0))
            if before.count or len(self._failed) < MAX_SERIES:
                spent = Duration(before.count + 1, before.ns + int(seconds * 1e9))
                self._failed[model, version] = spent

    def series(self) -> list[tuple[tuple[str, str, str], RouteStatistics]]:
        """Return all series, by model, version and route."""
        return list(self._series.items())

    def errors(self) -> list[tuple[tuple[str, str], int]]:
        """Return the counts by model and reason."""
        return list(self._errors.items())

    def for_versions(self, models: Iterable[tuple[str, str]]) -> list[VersionStatistics]:
        """Return Triton's statistics of the versions `models` only."""
        statistics = {key: VersionStatistics(*key) for key in models}
        for (model, version, _), series in self.series():
            if (model, version) in statistics:
                statistics[model, version].series.append(series)
        for key, spent in list(self._failed.items()):
            if key in statistics:
                statistics[key].failed = spent
        return list(statistics.values())

    def _open(self, key: tuple[str, str, str]) -> RouteStatistics:
        if len(self._series) >= MAX_SERIES:
            key = (OTHER, OTHER, key[2])
        return self._series.setdefault(key, RouteStatistics())
