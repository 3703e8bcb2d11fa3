"""Histogram for one writing thread and any number of readers, without locks or look-ups."""

from __future__ import annotations

from bisect import bisect_left

LATENCY_BOUNDS = (
    5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7.5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7.5e-3,
    1e-2, 2e-2, 5e-2, 0.1, 0.5, 2.0,
)  # fmt: skip
SIZE_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0)


class Histogram:
    """Counts of values per interval between `bounds`, and the sum of all values.

    A reader in another thread may see a count that is one ahead of the sum, and nothing worse.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> None:
        self.bounds, self.total = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count `value`."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """Number of values counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return Prometheus' bounds, each with the number of values up to it."""
        buckets, so_far = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        return buckets
