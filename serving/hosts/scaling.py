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


def wanted(busy: Sequence[float], target: float, running: int) -> int:
    """Return the replicas needed for the load of the `running` ones, at `target` cores a replica.

    `busy` has the cores that each replica uses. Replicas that have not reported yet count with the average.
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
    count = wanted(busy, targets[0] if targets else 1.0, context.current_num_replicas)
    minimum, maximum = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(minimum, min(maximum, count)), {}
