"""Rule `split`: prices and adjustment that do not step together.

A split moves all four prices of its first bar by the ratio, give or take a usual day, at a usual
turnover, and the adjustment by its inverse. Prices that move alone are a split that is not recorded; an
adjustment that moves alone, or by another ratio, is a recorded split that did not happen. A true move of
the same size opens at another price, continues through the day, or trades at a multiple of the usual
turnover.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.quality.bar_rows import BarRows, Flags, Floats, Indices
from marketdata.quality.finding import Finding, Severity
from marketdata.quality.step_sizes import BarSteps, bar_steps
from marketdata.quality.thresholds import Thresholds

RATIOS = (
    (5, 4), (4, 3), (3, 2), (5, 2),
    *((whole, 1) for whole in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1000)),
)  # fmt: skip
RATIO_FACTORS = np.array([old / new for new, old in RATIOS])
LOG_RATIOS = np.log(np.r_[RATIO_FACTORS, 1 / RATIO_FACTORS])
RATIO_NAMES = [f"{new}:{old}" for new, old in RATIOS] + [f"{old}:{new}" for new, old in RATIOS]
# At this ratio or more (either way) four prices that agree leave no doubt.
MIN_CERTAIN_LOG_RATIO = np.log(2.0)
# Maximum distance from the ratio of the opening price, and of any price of the bar, in local scales.
MAX_OPEN_SCALES, MAX_BAR_SCALES = 1.0, 4.0
# Minimum size, in scales, of a step that is recorded or on which four prices agree.
MIN_STEP_SCALES = 6.0
# The smallest recorded step (a log) that is searched for in the prices, and the smallest taken for a ratio.
MIN_LOG_STEP, MIN_LOG_RATIO = 0.05, float(np.log(1.2))


def check_splits(rows: BarRows, thresholds: Thresholds) -> Iterator[Finding]:
    """Find price steps without an adjustment step, and adjustment steps without a price step.

    An error where a recorded step is not in the prices, and where all four prices stepped by a ratio of
    at least two, at no more than `split_turnover` times the usual turnover; a warning where only the
    close is near a ratio.
    """
    for _, places in rows.groups:
        if len(places) < 2:
            continue
        steps = bar_steps(rows, places, thresholds)
        by_index: dict[int, tuple[str, Severity]] = {}
        for index, description in (
            *_recorded_alone(steps, thresholds),
            *_recorded_otherwise(steps, thresholds),
            *_unrecorded(steps, thresholds),
        ):
            by_index.setdefault(index, description)
        for index, (value, severity) in sorted(by_index.items()):
            yield rows.finding("split", int(places[index]), value, severity)


def _recorded_alone(steps: BarSteps, thresholds: Thresholds) -> Iterator[tuple[int, tuple[str, Severity]]]:
    """Find adjustments that step while the prices stay, a bar late for instance.

    The step back from a single bar's wrong adjustment does not count.
    """
    size = np.abs(steps.neighbour_recorded)
    least = np.fmax(MIN_LOG_STEP, MIN_STEP_SCALES * steps.scale)
    seen = (size >= least) & (np.abs(steps.recorded) >= least)
    tolerance = 2 * thresholds.split_tolerance
    stayed = _all_near(
        steps.neighbour_prices,
        np.zeros(len(size)),
        np.minimum(np.fmax(tolerance, MAX_OPEN_SCALES * steps.scale), size / 3),
        np.minimum(np.fmax(tolerance, MAX_BAR_SCALES * steps.scale), size / 2),
    )
    for index in np.flatnonzero(seen & stayed).tolist():
        factor = np.exp(steps.neighbour_recorded[index])
        yield index, (f"the adjustment steps by the factor {factor:.4g}, and the prices do not", "error")


def _recorded_otherwise(
    steps: BarSteps, thresholds: Thresholds
) -> Iterator[tuple[int, tuple[str, Severity]]]:
    """Find adjustments and prices that step by different ratios."""
    # Without a scale, a usual day cannot be told from a jump.
    excess = np.maximum(2 * MIN_LOG_STEP, thresholds.split_scales * steps.scale)
    low, high = np.fmin.reduce(steps.adjusted), np.fmax.reduce(steps.adjusted)
    wrong = (np.abs(steps.recorded) >= MIN_LOG_RATIO) & ((low > excess) | (high < -excess))
    for index in np.flatnonzero(wrong).tolist():
        factor, step = np.exp(steps.prices[-1, index]), np.exp(steps.recorded[index])
        yield (
            index,
            (
                f"the price changes by the factor {factor:.4g} and the adjustment by {step:.4g}; "
                "together they must leave the price about where it was",
                "error",
            ),
        )


def _unrecorded(steps: BarSteps, thresholds: Thresholds) -> Iterator[tuple[int, tuple[str, Severity]]]:
    """Find prices that step by a split's ratio while the adjustment does not offset it."""
    opened, closed = steps.adjusted[0], steps.adjusted[-1]
    tolerance = thresholds.split_tolerance
    by_open, by_close = _nearest(opened), _nearest(closed)
    certain = (
        (np.abs(LOG_RATIOS[by_open]) >= MIN_CERTAIN_LOG_RATIO)
        & ~(np.abs(opened) < MIN_STEP_SCALES * steps.scale)
        & ~(steps.relative_turnover > thresholds.split_turnover)
        & np.isfinite(opened)
        & _all_near(
            steps.adjusted,
            LOG_RATIOS[by_open],
            np.fmax(2 * tolerance, MAX_OPEN_SCALES * steps.scale),
            np.fmax(2 * tolerance, MAX_BAR_SCALES * steps.scale),
        )
    )
    near = (np.abs(np.expm1(closed - LOG_RATIOS[by_close])) <= tolerance) & ~(
        steps.deviation < thresholds.split_scales * steps.scale
    )
    for index in np.flatnonzero(certain | near).tolist():
        ratio = RATIO_NAMES[(by_open if certain[index] else by_close)[index]]
        yield (
            index,
            (
                f"the price changes by the factor {np.exp(closed[index]):.4g}, as in a {ratio} split, "
                "and the adjustment does not",
                "error" if certain[index] else "warning",
            ),
        )


def _nearest(step: Floats) -> Indices:
    known = np.where(np.isfinite(step), step, 0.0)
    nearest: Indices = np.abs(known[:, None] - LOG_RATIOS[None]).argmin(axis=1)
    return nearest


def _all_near(prices: Floats, targets: Floats, at_open: Floats, within_bar: Floats) -> Flags:
    """Return True where all given prices `[4, bars]` lie near `wanted`; the first of the day nearest."""
    first = np.where(np.isfinite(prices[0]), prices[0], prices[-1])
    near: Flags = np.abs(first - targets) <= at_open
    for values in prices:
        near &= ~(np.abs(values - targets) > within_bar)
    return near
