"""What a model card lets one expect of the live model, as limits that evidence can be held against."""

from __future__ import annotations

import math

from control.evidence import Expectation
from models.card import Card

STANDARD_ERRORS = 2.0
TURNOVER_MULTIPLE = 3.0
DEFAULT_SPREAD = 0.25
"""Standard deviation of a rank correlation over 20 names that are unrelated: about 1 / √19."""


def expectation(card: Card) -> Expectation:
    """The floor and the ceiling that `card` promises.

    The live one-bar IC should not fall below that of the card's worst walk-forward fold by more than
    two of its standard errors, and turnover not exceed three times that of its busiest fold. An
    honest model's worst fold is about zero, so the floor asks little of it; a leaked model's worst
    fold is splendid, and that is what betrays it.
    """
    folds = [row for row in card.walk_forward if row.get("ic_one_bar") is not None]
    spread = float(card.ranges["ic_one_bar"]["std"] or DEFAULT_SPREAD)
    floors = [float(row["ic_one_bar"]) - STANDARD_ERRORS * spread / math.sqrt(row["bars"]) for row in folds]
    busiest = max((float(row["turnover"]) for row in card.walk_forward), default=1.0)
    return Expectation(
        ic_floor=min(floors, default=-1.0),
        ic_scale=spread,
        turnover_ceiling=TURNOVER_MULTIPLE * max(busiest, 1e-3),
    )
