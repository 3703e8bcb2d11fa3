"""Rate limits: a token bucket for each client (Turner 1986)."""

from __future__ import annotations

from collections import OrderedDict

from alphaloop.clock import monotonic
from serving.protocol.errors import RateLimitError

MAX_CLIENTS = 4_096


class RateLimiter:
    """Limit of `rate` requests a second for each client.

    After a rest a client may send `burst` requests at once. The most recent clients are remembered; a
    forgotten client starts with a full bucket.
    """

    def __init__(self, rate: float, burst: int, clients: int = MAX_CLIENTS) -> None:
        self._rate, self._burst, self._clients = rate, float(burst), clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, client: str) -> None:
        """Take one request from the bucket of `client`; raises `RateLimitError` if it is empty."""
        now = monotonic()
        level, since = self._buckets.get(client, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        refused = level < 1.0
        self._buckets[client] = (level if refused else level - 1.0, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        if refused:
            wait = (1.0 - level) / self._rate
            raise RateLimitError(
                f"client '{client}' asks more than {self._rate:g} times a second (serving.rate_limit); "
                f"ask again in {wait * 1e3:.0f} ms",
                wait,
            )
