"""Forecaster of a running loop: the prediction server's answers, with their latencies and failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from alphaloop.clock import monotonic
from alphaloop.errors import ServingError
from alphaloop.forecasts import Route, RoutedForecasts
from trading.forecaster import ServedForecaster


class MeteredForecaster:
    """Served forecaster that records the latency of each sleeve's answer, in ms, and counts failures.

    The answers of one request have one latency.

    Parameters
    ----------
    served : ServedForecaster
        Client of the prediction server.
    kept : int, optional
        Number of last latencies to keep; all by default.
    """

    def __init__(self, served: ServedForecaster, kept: int | None = None) -> None:
        self._served = served
        self.latencies_ms: deque[float] = deque(maxlen=kept)
        self.errors = 0

    def require(self, generation: int) -> None:
        """Make the server read a rollout document of at least `generation` before it answers.

        A replay of many bars a second is then routed like a live market with minutes between bars.
        """
        self._served.min_generation = generation

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        """Request the predictions of all sleeves; raises `ServingError`."""
        began = monotonic()
        try:
            routed = self._served.forecasts(symbols, as_of, sleeves)
        except ServingError:
            self.errors += len(sleeves)
            raise
        answers = routed.forecasts.values()
        self.latencies_ms += [(monotonic() - began) * 1e3] * len(answers)
        self.errors += len(routed.failures) + sum(answer.route == Route.FALLBACK for answer in answers)
        return routed
