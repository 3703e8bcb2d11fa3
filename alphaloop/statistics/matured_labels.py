"""Matured labels: the outcome of a score, once the market has made it known.

A score made at close `t` can be traded at close `t + 1` at the earliest, so its one-bar outcome is the return
from close `t + 1` to close `t + 2`. Consecutive outcomes do not overlap, which the sequential tests of
`rollouts.evidence.sequential` rely on.
"""

from __future__ import annotations

from alphaloop.decision.returns import simple_returns

__all__ = ["BARS_TO_MATURE", "simple_returns"]

BARS_TO_MATURE = 2
"""Number of bars after a score's own bar until its one-bar outcome is known."""
