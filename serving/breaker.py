"""A circuit breaker for each model version: one that errs, gives no number or is slow is left alone.

The ladder of a request: the version that it is routed to; the champion; the last good scores of the
same symbols, marked stale; a refusal, at which the executor only reduces.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from alphaloop.breaker import BreakerState, CircuitBreaker
from alphaloop.clock import monotonic
from alphaloop.errors import ServingError
from alphaloop.prediction import SymbolStatus
from alphaloop.settings import ServingSettings
from serving.engine import LoadedModel
from serving.scoring import Inputs, Scored, score, score_together, unscored

# Versions and requests come and go; what was not used for longest is forgotten.
MOST = 64


class VersionBreakers:
    """Scores by versions, each behind its breaker. Thread-safe.

    A version is left alone for `breaker_seconds` after `breaker_failures` failures within as many
    seconds; then one request tries it again. A failure is an error, a score that is not a number, and a
    scoring that takes longer than `slow_ms`, whose scores are used all the same.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._breakers: OrderedDict[tuple[str, str], CircuitBreaker] = OrderedDict()
        self._lock = Lock()

    def score(self, loaded: LoadedModel, inputs: Inputs, rotate: int = 0) -> Scored:
        """As `serving.scoring.score`; a version whose breaker is open is not asked, and has an error."""
        breaker = self._breaker(loaded.model, loaded.version)
        if not breaker.allows():
            reason = f"{loaded.model} version {loaded.version} has failed too often and is left alone"
            return unscored(loaded.version, f"{reason} for {self._settings.breaker_seconds:g} s", inputs)
        started = monotonic()
        scored = score(loaded, inputs, rotate)
        if scored.error is not None or (monotonic() - started) * 1e3 > self._settings.slow_ms:
            breaker.failed()
        elif breaker.state is not BreakerState.CLOSED:
            breaker.succeeded()
        return scored

    def score_together(self, loaded: LoadedModel, several: Sequence[Inputs]) -> list[Inputs]:
        """As `serving.scoring.score_together`; as they are where the version fails or is being left alone.

        A run that fails is not counted: whose fault it is shows when each is scored alone.
        """
        breaker = self._breaker(loaded.model, loaded.version)
        if breaker.state is not BreakerState.CLOSED:
            return list(several)
        started = monotonic()
        try:
            return score_together(loaded, several)
        except ServingError:
            return list(several)
        finally:
            if (monotonic() - started) * 1e3 > self._settings.slow_ms:
                breaker.failed()

    def states(self) -> dict[tuple[str, str], BreakerState]:
        """How the breaker of each model and version stands."""
        with self._lock:
            breakers = dict(self._breakers)
        return {key: breaker.state for key, breaker in breakers.items()}

    def _breaker(self, model: str, version: str) -> CircuitBreaker:
        key, settings = (model, version), self._settings
        with self._lock:
            if key not in self._breakers:
                seconds = settings.breaker_seconds
                self._breakers[key] = CircuitBreaker(settings.breaker_failures, seconds, seconds)
                if len(self._breakers) > MOST:
                    self._breakers.popitem(last=False)
            return self._breakers[key]


@dataclass(frozen=True, slots=True)
class Good:
    """An answer that was good, its inputs, and when it was given."""

    answer: Scored
    inputs: Inputs
    at: float


class LastGood:
    """The last good answer for each model and tuple of symbols, for `seconds`. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Good] = OrderedDict()
        self._lock = Lock()

    def keep(self, model: str, answer: Scored, inputs: Inputs) -> None:
        """Remember an answer to a request by symbols; one by tensor could not be found again."""
        if not inputs.symbols:
            return
        key = (model, inputs.symbols)
        with self._lock:
            self._kept[key] = Good(answer, inputs, monotonic())
            self._kept.move_to_end(key)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)

    def recall(self, model: str, inputs: Inputs) -> Good | None:
        """The last answer for these symbols, marked stale; None where there is none or it is too old."""
        with self._lock:
            good = self._kept.get((model, inputs.symbols))
        if good is None or monotonic() - good.at > self._seconds:
            return None
        statuses = tuple(
            SymbolStatus.STALE if one is SymbolStatus.OK else one for one in good.answer.statuses
        )
        return replace(good, answer=replace(good.answer, stale=True, statuses=statuses))
