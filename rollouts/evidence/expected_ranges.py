"""Expected ranges of the live model's IC, turnover and scores, derived from its card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.registry.card import Card

IC_STANDARD_ERRORS = 2.0
TURNOVER_MULTIPLE = 3.0
DEFAULT_IC_STD = 0.25
"""Standard deviation of the rank correlation of 20 unrelated symbols: about 1 / √19."""
MAX_CORRELATION = 0.9999
DISPERSION_FACTOR = 3.0
"""Factor by which the spread of scores may leave the folds' range, as it does in crises."""
AGREEMENT_MARGIN = 0.15
"""Margin beyond the folds' range of rank correlations with the champion, which move slowly and far."""


@dataclass(frozen=True, slots=True)
class ExpectedRange:
    """Range of a figure, and the unit in which a distance from the range is measured."""

    low: float
    high: float
    scale: float


@dataclass(frozen=True, slots=True)
class ExpectedRanges:
    """Ranges that the challenger's card promises.

    A field is NaN or None where the cards say nothing.

    No test is made against a missing value.

    Parameters
    ----------
    ic_floor : float
        Lowest one-bar information coefficient to expect on average.
    ic_scale : float
        Standard deviation of the IC from bar to bar: the unit of the distance to the floor.
    turnover_ceiling : float
        Highest one-way turnover a bar to expect, as a share of capital.
    turnover_mean : float
        Mean turnover a bar of the calmest fold.
    turnover_high : float
        Turnover that one bar in twenty of the folds exceeds (95 % quantile).
    turnover_ratio : float
        Turnover as a multiple of the champion's, by their cards.
    persistence : ExpectedRange, optional
        Rank correlation of scores with those of the bar before, on Fisher's scale.
    dispersion : ExpectedRange, optional
        Standard deviation of scores, as natural logarithm.
    agreement : ExpectedRange, optional
        Rank correlation with the champion's scores.
    """

    ic_floor: float
    ic_scale: float
    turnover_ceiling: float
    turnover_mean: float = math.nan
    turnover_high: float = math.nan
    turnover_ratio: float = math.nan
    persistence: ExpectedRange | None = None
    dispersion: ExpectedRange | None = None
    agreement: ExpectedRange | None = None


def ranges_from_card(card: Card, champion: Card | None = None) -> ExpectedRanges:
    """Derive the expected ranges from the challenger's card and the champion's.

    Parameters
    ----------
    card : Card
        Card of the challenger.
    champion : Card, optional
        Card of the champion; without it, neither turnover ratio nor agreement is known.

    Returns
    -------
    ExpectedRanges
    """
    ranges = dict(card.ranges)
    if champion is None or (ranges.get("agreement") or {}).get("champion") != champion.digest:
        # Measured against another champion, so it says nothing about this one.
        ranges.pop("agreement", None)
    return ranges_from_folds(card.walk_forward, ranges, champion.walk_forward if champion else ())


def ranges_from_folds(
    folds: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, Any],
    champion_folds: Sequence[Mapping[str, Any]] = (),
) -> ExpectedRanges:
    """Derive the expected ranges from walk-forward `folds` and `ranges`.

    The live one-bar IC should not fall below that of the worst walk-forward fold by more than two of that
    fold's standard errors, and turnover should not exceed three times that of the busiest fold. An honest
    model's worst fold is about zero, so the floor asks little of it; the worst fold of a model trained on
    leaked data is splendid, and that betrays it.

    Parameters
    ----------
    folds : sequence of mapping
        Rows of `models.evaluation.walk_forward`, with `ic_one_bar`, `bars` and `turnover`.
    ranges : mapping
        Distributions of figures over all folds (`std` and quantiles by name).
    champion_folds : sequence of mapping
        Rows of the champion, for the ratio of turnovers.

    Returns
    -------
    ExpectedRanges

    Examples
    --------
    >>> folds = [{"ic_one_bar": 0.02, "bars": 400, "turnover": 0.1}]
    >>> promised = ranges_from_folds(folds, {})
    >>> round(promised.ic_floor, 3), round(promised.turnover_ceiling, 1)
    (-0.005, 0.3)
    """
    measured = [row for row in folds if row.get("ic_one_bar") is not None]
    spread = _figure(ranges, "ic_one_bar", "std") or DEFAULT_IC_STD
    floors = [
        float(row["ic_one_bar"]) - IC_STANDARD_ERRORS * spread / math.sqrt(row["bars"]) for row in measured
    ]
    traded = [float(row["turnover"]) for row in folds]
    theirs = [float(row["turnover"]) for row in champion_folds]
    high = _figure(ranges, "turnover", "q95")
    ratio = _mean(traded) / _mean(theirs) if traded and theirs and min(theirs) > 0 else math.nan
    return ExpectedRanges(
        ic_floor=min(floors, default=-1.0),
        ic_scale=spread,
        turnover_ceiling=TURNOVER_MULTIPLE * max(max(traded, default=1.0), 1e-3),
        turnover_mean=min(traded, default=math.nan),
        turnover_high=math.nan if high is None else high,
        turnover_ratio=ratio,
        persistence=_persistence(ranges),
        dispersion=_dispersion(ranges),
        agreement=_agreement(ranges),
    )


def fisher_z(correlation: float) -> float:
    """Transform a correlation to Fisher's scale, clipped at ±0.9999 so that it stays finite.

    On that scale the sampling error is the same for weak and strong correlations.

    Examples
    --------
    >>> round(fisher_z(0.5), 4)
    0.5493
    """
    return math.atanh(max(-MAX_CORRELATION, min(MAX_CORRELATION, correlation)))


def _persistence(ranges: Mapping[str, Any]) -> ExpectedRange | None:
    low, middle, high = (_figure(ranges, "score_persistence", name) for name in ("q01", "q50", "q99"))
    if low is None or middle is None or high is None:
        return None
    low, middle, high = fisher_z(low), fisher_z(middle), fisher_z(high)
    scale = max(middle - low, 0.25)
    return ExpectedRange(low - scale / 2, high + scale / 2, scale)


def _dispersion(ranges: Mapping[str, Any]) -> ExpectedRange | None:
    low, high = (_figure(ranges, "score_dispersion", name) for name in ("q01", "q99"))
    if low is None or high is None or low <= 0:
        return None
    margin = math.log(DISPERSION_FACTOR)
    return ExpectedRange(math.log(low) - margin, math.log(high) + margin, margin)


def _agreement(ranges: Mapping[str, Any]) -> ExpectedRange | None:
    low, high = (_figure(ranges, "agreement", name) for name in ("q01", "q99"))
    if low is None or high is None:
        return None
    return ExpectedRange(low - AGREEMENT_MARGIN, high + AGREEMENT_MARGIN, AGREEMENT_MARGIN)


def _figure(ranges: Mapping[str, Any], name: str, level: str) -> float | None:
    value = (ranges.get(name) or {}).get(level)
    return None if value is None or not math.isfinite(value) else float(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
