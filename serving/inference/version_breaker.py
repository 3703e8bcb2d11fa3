"""Circuit breaker of each model version, and a cache of its last good scores.

A breaker opens for a version that errs, gives no number or is slow. The fallbacks of a request, in order: the
version that it is routed to; the champion; the last good scores of the same symbols, marked stale; an error,
on which the executor only reduces positions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from alphaloop.clock import monotonic
from alphaloop.errors import ServingError
from alphaloop.forecasts import SymbolStatus
from alphaloop.runtime.circuit_breaker import BreakerState, CircuitBreaker
from alphaloop.settings.serving import ServingSettings
from serving.inference.model_cache import LoadedModel
from serving.inference.scoring import score_together, unscored
from serving.inference.values import Scoring, ScoringInputs, VersionScores
from serving.protocol.status import MAX_REASON_LENGTH, shorten

# Maximum number of breakers, and of cached results; the oldest is removed.
MAX_ENTRIES = 64
# Memory limit of cached results with their inputs.
MAX_CACHED_BYTES = 64 * 2**20


@dataclass(slots=True)
class VersionBreaker:
    """Circuit breaker of a version, with its last failure and a count of slow runs.

    `reason` is empty before the first failure. `slow` is the number of slow runs less the number of timely
    ones, and never below 0.
    """

    breaker: CircuitBreaker
    reason: str = ""
    slow: int = 0

    def failed(self, reason: str) -> None:
        """Count a failure against the version."""
        self.reason = shorten(reason, MAX_REASON_LENGTH)
        self.breaker.failed()

    def count_run(self, slow: str, limit: int) -> None:
        """Count a run that was slow, or in time (`slow` is empty).

        The breaker opens once `limit` more runs were slow than in time. A machine that stalls now and then
        opens no breaker of a version that is mostly in time.
        """
        self.slow = self.slow + 1 if slow else max(0, self.slow - 1)
        if self.slow >= limit or (slow and self.breaker.state is BreakerState.HALF_OPEN):
            self.reason, self.slow = slow, 0
            self.breaker.trip()


class VersionBreakers:
    """Scoring with one circuit breaker a version. Thread-safe.

    A version is not run for `breaker_seconds` after `breaker_failures` failures within as many seconds; then
    one request tries it again. A failure is an error, or a score that is not a number. The breaker also opens
    once `breaker_failures` more runs took longer than `slow_ms` than did not; the scores of slow runs are
    used all the same.

    Requests with a client's own panel do not count, good or bad: any client could send inputs for which no
    graph has a finite score, and block the version for everybody.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._breakers: OrderedDict[tuple[str, str], VersionBreaker] = OrderedDict()
        self._lock = Lock()

    def score(self, loaded: LoadedModel, inputs: ScoringInputs, scoring: Scoring) -> VersionScores:
        """Run the version's `scoring` of the requested `inputs`, unless its breaker is open.

        With an open breaker the result has an error that repeats the last failure.
        """
        watched = self._watched(loaded.model, loaded.version)
        is_sent = _is_client_panel(inputs)
        # A run that does not count must not be the half-open breaker's trial: it would have no result.
        allowed = watched.breaker.state is not BreakerState.OPEN if is_sent else watched.breaker.allows()
        if not allowed:
            error = (
                f"{loaded.model} version {loaded.version} has failed too often and is left alone for "
                f"{self._settings.breaker_seconds:g} s; its last failure: {watched.reason}"
            )
            return unscored(loaded.version, error, inputs)
        if is_sent:
            return scoring()
        started = monotonic()
        scored = scoring()
        if scored.error is not None:
            watched.failed(scored.error)
            return scored
        slow = self._slow(started)
        self._pace(watched, slow)
        if not slow and watched.breaker.state is not BreakerState.CLOSED:
            watched.breaker.succeeded()
        return scored

    def score_together(self, loaded: LoadedModel, several: Sequence[ScoringInputs]) -> list[VersionScores]:
        """Score as `serving.inference.scoring.score_together` does.

        Returns an empty list if the version fails or its breaker is not closed. A failed batch is not
        counted: scoring each request alone shows which caused it. A slow batch is not counted if it held a
        client's own panel.
        """
        watched = self._watched(loaded.model, loaded.version)
        if watched.breaker.state is not BreakerState.CLOSED:
            return []
        started = monotonic()
        try:
            return score_together(loaded, several)
        except ServingError:
            return []
        finally:
            if not any(map(_is_client_panel, several)):
                self._pace(watched, self._slow(started))

    def states(self) -> dict[tuple[str, str], BreakerState]:
        """Return the state of each breaker by model and version."""
        with self._lock:
            breakers = dict(self._breakers)
        return {key: watched.breaker.state for key, watched in breakers.items()}

    def _pace(self, watched: VersionBreaker, slow: str) -> None:
        # The lock is shared by all versions; a version that is always in time does not take it.
        if slow or watched.slow:
            with self._lock:
                watched.count_run(slow, self._settings.breaker_failures)

    def _slow(self, started: float) -> str:
        """Return a message if the run took too long, else an empty text."""
        took, limit = (monotonic() - started) * 1e3, self._settings.slow_ms
        return f"it took {took:.0f} ms, longer than serving.slow_ms ({limit:g})" if took > limit else ""

    def _watched(self, model: str, version: str) -> VersionBreaker:
        key, settings = (model, version), self._settings
        with self._lock:
            if key not in self._breakers:
                seconds = settings.breaker_seconds
                breaker = CircuitBreaker(settings.breaker_failures, seconds, seconds)
                self._breakers[key] = VersionBreaker(breaker)
                if len(self._breakers) > MAX_ENTRIES:
                    self._breakers.popitem(last=False)
            return self._breakers[key]


def _is_client_panel(inputs: ScoringInputs) -> bool:
    """Return whether the client sent the panel itself."""
    return inputs.feature_set is None


@dataclass(frozen=True, slots=True)
class CachedScores:
    """Good result with its inputs and its time (`alphaloop.clock.monotonic`)."""

    scores: VersionScores
    inputs: ScoringInputs
    scored_at: float

    @property
    def size_bytes(self) -> int:
        """Approximate memory of the inputs and the result, in bytes."""
        return self.inputs.panel.nbytes + self.scores.panel.nbytes


class StaleScoreCache:
    """Last good result of each version for each tuple of symbols, for `seconds`. Thread-safe.

    The cache is bounded in entries and bytes; the least recently written go first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[tuple[str, str, tuple[str, ...]], CachedScores] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    def put(self, model: str, answer: VersionScores, inputs: ScoringInputs) -> None:
        """Cache the result of a request by symbols.

        A client's own panel is not cached, because it has no symbols to find it by.
        """
        if not inputs.symbols:
            return
        key = (model, answer.version, inputs.symbols)
        good = CachedScores(answer, inputs, monotonic())
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = good
            self._kept_bytes += good.size_bytes - (before.size_bytes if before else 0)
            while len(self._kept) > 1 and (
                len(self._kept) > MAX_ENTRIES or self._kept_bytes > MAX_CACHED_BYTES
            ):
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.size_bytes

    def get(self, model: str, version: str, inputs: ScoringInputs) -> CachedScores | None:
        """Return the version's last result for these symbols, marked stale.

        None if there is no result, or it is too old.
        """
        with self._lock:
            good = self._kept.get((model, version, inputs.symbols))
        if good is None or monotonic() - good.scored_at > self._seconds:
            return None
        statuses = tuple(
            SymbolStatus.STALE if status is SymbolStatus.OK else status for status in good.scores.statuses
        )
        # The run behind these scores may have been a batch, which an earlier response reported.
        symbols = len(good.scores.scores)
        stale = replace(good.scores, stale=True, statuses=statuses, run_seconds=0.0, run_symbols=symbols)
        return replace(good, scores=stale)
