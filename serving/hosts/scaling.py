"""Autoscaling of Ray Serve: enough replicas to keep each below a share of one core.

A replica computes on one event loop, so it can use no more than one core. Serve's own measure, ongoing
requests, is taken on that loop between two computations, when there are hardly any: it would never report a
busy replica.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

BUSY, TARGET = "busy", "target_busy"


def replicas_needed(busy: Sequence[float], target: float, running: int) -> int:
    """Return the number of replicas needed for the present load.

    Parameters
    ----------
    busy : sequence of float
        Cores that each reporting replica uses; the others count with the average.
    target : float
        Cores that a replica should use.
    running : int
        Number of replicas now.

    Examples
    --------
    >>> replicas_needed([0.9, 0.7], target=0.5, running=2)
    4
    """
    if not busy:
        return running
    return math.ceil(sum(busy) / len(busy) * running / target)


def by_load(context: Any) -> tuple[int, dict[str, Any]]:
    """Return the number of replicas, within the limits, and no state: Ray Serve's policy function.

    Serve calls it in its controller; delays before scaling are Serve's own (`upscale_delay_s`, …).
    """
    metrics: Mapping[str, Mapping[Any, float]] = context.aggregated_metrics or {}
    busy = list(metrics.get(BUSY, {}).values())
    targets = list(metrics.get(TARGET, {}).values())
    count = replicas_needed(busy, targets[0] if targets else 1.0, context.current_num_replicas)
    minimum, maximum = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(minimum, min(maximum, count)), {}
