"""What a model card lets one expect of the live model, as limits that evidence can be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.registry.card import Card

STANDARD_ERRORS = 2.0
TURNOVER_MULTIPLE = 3.0
DEFAULT_SPREAD = 0.25
"""Standard deviation of a rank correlation over 20 names that are unrelated: about 1 / √19."""
PERSISTENCE_CEILING = 0.9999
DISPERSION_FACTOR = 3.0
"""Scores may spread so many times as wide, or as narrow, as ever in the folds: crises do that."""
AGREEMENT_MARGIN = 0.15
"""Room beyond the folds' range of rank correlations with the champion, which moves slowly and far."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where a figure should lie, and the ruler of its distance from there."""

    low: float
    high: float
    ruler: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the challenger's card promises: a floor for its IC, a ceiling for its turnover, and ranges.

    `ic_scale` is the standard deviation of its IC from bar to bar: the ruler of the distance to the
    floor. `turnover_mean` is the turnover a bar of its calmest fold, `turnover_high` what it trades more of
    on one bar in twenty of its folds, `turnover_ratio` its turnover as a multiple of the champion's on their
    cards. `persistence` is on Fisher's scale, `dispersion` in natural logarithms. NaN and None for what the
    cards do not say; nothing is held against those.
    """

    ic_floor: float
    ic_scale: float
    turnover_ceiling: float
    turnover_mean: float = math.nan
    turnover_high: float = math.nan
    turnover_ratio: float = math.nan
    persistence: Range | None = None
    dispersion: Range | None = None
    agreement: Range | None = None


def expectation(card: Card, champion: Card | None = None) -> Expectation:
    """The limits that `card` promises, beside those of the champion's card."""
    ranges = dict(card.ranges)
    if champion is None or (ranges.get("agreement") or {}).get("champion") != champion.digest:
        # Measured with another champion: it says nothing of this one.
        ranges.pop("agreement", None)
    return of_folds(card.walk_forward, ranges, champion.walk_forward if champion else ())


def of_folds(
    folds: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, Any],
    champion_folds: Sequence[Mapping[str, Any]] = (),
) -> Expectation:
    """The limits that walk-forward `folds` and `ranges` promise, as `models.evaluation.walk_forward` makes
    them.

    The live one-bar IC should not fall below that of the card's worst walk-forward fold by more than
    two of its standard errors, and turnover not exceed three times that of its busiest fold. An
    honest model's worst fold is about zero, so the floor asks little of it; a leaked model's worst
    fold is splendid, and that is what betrays it.
    """
    measured = [row for row in folds if row.get("ic_one_bar") is not None]
    spread = _figure(ranges, "ic_one_bar", "std") or DEFAULT_SPREAD
    floors = [
        float(row["ic_one_bar"]) - STANDARD_ERRORS * spread / math.sqrt(row["bars"]) for row in measured
    ]
    traded = [float(row["turnover"]) for row in folds]
    theirs = [float(row["turnover"]) for row in champion_folds]
    high = _figure(ranges, "turnover", "q95")
    ratio = _mean(traded) / _mean(theirs) if traded and theirs and min(theirs) > 0 else math.nan
    return Expectation(
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


def fisher(correlation: float) -> float:
    """A rank correlation on Fisher's scale, on which it varies alike everywhere; bounded."""
    return math.atanh(max(-PERSISTENCE_CEILING, min(PERSISTENCE_CEILING, correlation)))


def _persistence(ranges: Mapping[str, Any]) -> Range | None:
    low, middle, high = (_figure(ranges, "score_persistence", name) for name in ("q01", "q50", "q99"))
    if low is None or middle is None or high is None:
        return None
    low, middle, high = fisher(low), fisher(middle), fisher(high)
    ruler = max(middle - low, 0.25)
    return Range(low - ruler / 2, high + ruler / 2, ruler)


def _dispersion(ranges: Mapping[str, Any]) -> Range | None:
    low, high = (_figure(ranges, "score_dispersion", name) for name in ("q01", "q99"))
    if low is None or high is None or low <= 0:
        return None
    margin = math.log(DISPERSION_FACTOR)
    return Range(math.log(low) - margin, math.log(high) + margin, margin)


def _agreement(ranges: Mapping[str, Any]) -> Range | None:
    low, high = (_figure(ranges, "agreement", name) for name in ("q01", "q99"))
    if low is None or high is None:
        return None
    return Range(low - AGREEMENT_MARGIN, high + AGREEMENT_MARGIN, AGREEMENT_MARGIN)


def _figure(ranges: Mapping[str, Any], name: str, level: str) -> float | None:
    value = (ranges.get(name) or {}).get(level)
    return None if value is None or not math.isfinite(value) else float(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
