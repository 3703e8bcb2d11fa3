"""What a card promises: the worst of its folds, not the best."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rollouts.evidence.expected_ranges import ranges_from_folds


def fold(ic: float, turnover: float, bars: int = 400) -> dict[str, Any]:
    """A row of a walk-forward record."""
    return {"ic_one_bar": ic, "turnover": turnover, "bars": bars}


RANGES = {"ic_one_bar": {"std": 0.3}, "turnover": {"q95": 0.05}}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_floor_of_the_ic_is_that_of_the_worst_fold(order: tuple[int, ...]) -> None:
    """The live IC may fall two standard errors below the worst fold, wherever that comes in the record."""
    folds = [fold(-0.01, 0.02), fold(0.02, 0.03), fold(0.08, 0.01)]
    found = ranges_from_folds([folds[at] for at in order], RANGES)
    assert found.ic_floor == pytest.approx(-0.01 - 2 * 0.3 / math.sqrt(400))
    assert found.ic_scale == 0.3


def test_a_short_fold_promises_less() -> None:
    """Of two folds with the same IC the shorter one has the lower floor, and that one holds."""
    found = ranges_from_folds([fold(0.02, 0.02, bars=900), fold(0.02, 0.02, bars=100)], RANGES)
    assert found.ic_floor == pytest.approx(0.02 - 2 * 0.3 / 10)


def test_the_ceiling_of_turnover_is_that_of_the_busiest_fold() -> None:
    """Turnover may be three times that of the busiest fold; the calmest one is the least it is held to."""
    found = ranges_from_folds([fold(0.0, 0.02), fold(0.0, 0.03), fold(0.0, 0.01)], RANGES, [fold(0.0, 0.01)])
    assert found.turnover_ceiling == pytest.approx(0.09)
    assert found.turnover_mean == pytest.approx(0.01)
    assert found.turnover_high == 0.05
    assert found.turnover_ratio == pytest.approx(2.0)
