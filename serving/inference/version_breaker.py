"""A circuit breaker for each model version: one that errs, gives no number or is slow is left alone.

The ladder of a request: the version that it is routed to; the champion; the last good scores of the
same symbols, marked stale; a refusal, at which the executor only reduces.
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
from serving.inference.scoring import score, score_together, unscored
from serving.inference.values import Inputs, Scored
from serving.protocol.status import MOST_TOLD, shortened

# Versions and requests come and go; what was not used for longest is forgotten.
MOST = 64
# Of the inputs that last good answers were given for.
MAX_KEPT_BYTES = 64 * 2**20


@dataclass(slots=True)
class Watched:
    """The breaker of a version, why it failed last (empty before it has), and its slow scorings.

    `slow` counts the scorings that took too long, less those that came in time, and is never below 0.
    """

    breaker: CircuitBreaker
    reason: str = ""
    slow: int = 0

    def failed(self, reason: str) -> None:
        """Hold a failure against the version."""
        self.reason = shortened(reason, MOST_TOLD)
        self.breaker.failed()

    def paced(self, slow: str, most: int) -> None:
        """Count a scoring that was in time (`slow` is empty) or slow; opens when `most` more were slow.

        A machine that stalls now and then holds nothing against a version that is mostly in time.
        """
        self.slow = self.slow + 1 if slow else max(0, self.slow - 1)
        if self.slow >= most or (slow and self.breaker.state is BreakerState.HALF_OPEN):
            self.reason, self.slow = slow, 0
            self.breaker.trip()


class VersionBreakers:
    """Scores by versions, each behind its breaker. Thread-safe.

    A version is left alone for `breaker_seconds` after `breaker_failures` failures within as many
    seconds; then one request tries it again. A failure is an error or a score that is not a number. It is
    left alone as well once `breaker_failures` more of its scorings took longer than `slow_ms` than were in
    time; their scores are used all the same.

    What a version does with inputs that a client sent says nothing of it, good or bad: any client could send
    such as no graph has a finite score for, and have the version left alone for everybody.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._breakers: OrderedDict[tuple[str, str], Watched] = OrderedDict()
        self._lock = Lock()

    def score(self, loaded: LoadedModel, inputs: Inputs, rotate: int = 0) -> Scored:
        """As `serving.inference.scoring.score`; a version whose breaker is open is not asked.

        It then has an error, which says how it failed last. Where a batch has scored, nothing is asked.
        """
        if inputs.ahead_by(loaded.model, loaded.version, rotate) is not None:
            return score(loaded, inputs)
        watched = self._watched(loaded.model, loaded.version)
        sent = _sent(inputs)
        # What does not count is no trial either: nothing would be heard of it.
        asked = watched.breaker.state is not BreakerState.OPEN if sent else watched.breaker.allows()
        if not asked:
            error = (
                f"{loaded.model} version {loaded.version} has failed too often and is left alone for "
                f"{self._settings.breaker_seconds:g} s; its last failure: {watched.reason}"
            )
            return unscored(loaded.version, error, inputs)
        if sent:
            return score(loaded, inputs, rotate)
        started = monotonic()
        scored = score(loaded, inputs, rotate)
        if scored.error is not None:
            watched.failed(scored.error)
            return scored
        slow = self._slow(started)
        self._pace(watched, slow)
        if not slow and watched.breaker.state is not BreakerState.CLOSED:
            watched.breaker.succeeded()
        return scored

    def score_together(self, loaded: LoadedModel, several: Sequence[Inputs]) -> list[Inputs]:
        """As `serving.inference.scoring.score_together`; as they are where the version fails or is being left
        alone.

        A run that fails is not counted: whose fault it is shows when each is scored alone. Nor is a slow one
        that scored any inputs which a client sent.
        """
        watched = self._watched(loaded.model, loaded.version)
        if watched.breaker.state is not BreakerState.CLOSED:
            return list(several)
        started = monotonic()
        try:
            return score_together(loaded, several)
        except ServingError:
            return list(several)
        finally:
            if not any(map(_sent, several)):
                self._pace(watched, self._slow(started))

    def states(self) -> dict[tuple[str, str], BreakerState]:
        """How the breaker of each model and version stands."""
        with self._lock:
            known = dict(self._breakers)
        return {key: watched.breaker.state for key, watched in known.items()}

    def _pace(self, watched: Watched, slow: str) -> None:
        # The lock is shared by all versions; a version that keeps in time does not need it.
        if slow or watched.slow:
            with self._lock:
                watched.paced(slow, self._settings.breaker_failures)

    def _slow(self, started: float) -> str:
        """That a scoring that began at `started` took too long; empty where it did not."""
        took, most = (monotonic() - started) * 1e3, self._settings.slow_ms
        return f"it took {took:.0f} ms, longer than serving.slow_ms ({most:g})" if took > most else ""

    def _watched(self, model: str, version: str) -> Watched:
        key, settings = (model, version), self._settings
        with self._lock:
            if key not in self._breakers:
                seconds = settings.breaker_seconds
                breaker = CircuitBreaker(settings.breaker_failures, seconds, seconds)
                self._breakers[key] = Watched(breaker)
                if len(self._breakers) > MOST:
                    self._breakers.popitem(last=False)
            return self._breakers[key]


def _sent(inputs: Inputs) -> bool:
    """Whether a client sent the panel itself."""
    return inputs.feature_set is None


@dataclass(frozen=True, slots=True)
class Good:
    """An answer that was good, its inputs, and when it was given."""

    answer: Scored
    inputs: Inputs
    at: float

    @property
    def size_bytes(self) -> int:
        """About how many bytes are kept for it."""
        return self.inputs.panel.nbytes + self.answer.seen.nbytes


class LastGood:
    """The last good answer of each version for each tuple of symbols, for `seconds`. Thread-safe.

    Of many, or of many bytes, the last are kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[tuple[str, str, tuple[str, ...]], Good] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    def keep(self, model: str, answer: Scored, inputs: Inputs) -> None:
        """Remember an answer to a request by symbols; one by tensor could not be found again."""
        if not inputs.symbols:
            return
        key = (model, answer.version, inputs.symbols)
        good = Good(answer, inputs, monotonic())
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = good
            self._kept_bytes += good.size_bytes - (before.size_bytes if before else 0)
            while len(self._kept) > 1 and (len(self._kept) > MOST or self._kept_bytes > MAX_KEPT_BYTES):
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.size_bytes

    def recall(self, model: str, version: str, inputs: Inputs) -> Good | None:
        """The version's last answer for these symbols, marked stale; None without one, or for one too old."""
        with self._lock:
            good = self._kept.get((model, version, inputs.symbols))
        if good is None or monotonic() - good.at > self._seconds:
            return None
        statuses = tuple(
            SymbolStatus.STALE if one is SymbolStatus.OK else one for one in good.answer.statuses
        )
        return replace(good, answer=replace(good.answer, stale=True, statuses=statuses))
