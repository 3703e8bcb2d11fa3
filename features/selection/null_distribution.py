"""What chance alone finds: the best of many candidates looks good even if none knows anything."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from features.engine.operator import Vector
from features.selection.information_coefficient import mean, standard_error, unit_ranks
from features.selection.training_part import TrainingPart

SHIFTS = 200
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Chance:
    """The best of `tried` candidates beside what none of them would need any skill for.

    `best` is the largest mean information coefficient by size, of the candidate `name`. `expected` is the
    mean of the largest of `tried` independent normal draws whose spread is the candidates' median standard
    error. `shifted` and `shifted_95` are the mean and the 95 % level of the largest when labels are moved
    in time against the candidates, which keeps their likeness to one another and their memory. `p_value`
    is the share of shifts that reach `best`.
    """

    tried: int
    name: str
    best: float
    expected: float
    shifted: float
    shifted_95: float
    p_value: float

    @property
    def beyond(self) -> bool:
        """Whether the best is more than luck explains, at 5 %."""
        return self.p_value <= LEVEL and self.best > self.expected


def expected_maximum(draws: int) -> float:
    """The mean of the largest of `draws` standard normal variables' sizes, by the integral of its tail."""
    steps = np.linspace(0.0, 9.0, 4501)
    below = np.array([erf(step / sqrt(2.0)) for step in steps]) ** max(draws, 1)
    return float(np.trapezoid(1.0 - below, steps))


def expected_best(errors: Vector, tried: int) -> float:
    """The mean of the largest of `tried` normal draws whose spread is the median of the standard `errors`."""
    finite = errors[np.isfinite(errors)]
    return expected_maximum(tried) * (float(np.median(finite)) if len(finite) else 0.0)


def chance(part: TrainingPart, tried: int, seed: int = 0) -> Chance:
    """Of `part`, whose candidates are what is left of `tried`."""
    coefficients = part.coefficients
    means = mean(coefficients)
    errors = standard_error(coefficients, part.horizon)
    place = int(np.argmax(np.abs(means)))
    best = float(abs(means[place]))
    tried = max(tried, len(part.names))
    largest = _shifted_maxima(part, np.random.default_rng(seed))
    return Chance(
        tried=tried,
        name=part.names[place],
        best=best,
        expected=expected_best(errors, tried),
        shifted=float(largest.mean()),
        shifted_95=float(np.quantile(largest, 1 - LEVEL)),
        p_value=float((1 + (largest >= best).sum()) / (1 + len(largest))),
    )


def _shifted_maxima(part: TrainingPart, generator: np.random.Generator) -> Vector:
    """The largest mean information coefficient by size under each move in a circle `[SHIFTS]`."""
    labels = unit_ranks(part.target, part.labelled).astype(np.float32)
    features = part.ranks.reshape(-1, len(part.names))
    counts = np.maximum((part.ranks != 0).any(axis=1).sum(axis=0), 1)
    # Candidates meet labels of later times. Less than a twentieth of the time away, slow ones would still
    # foretell; where the circle closes they meet earlier labels, which must lie before all they look back on.
    nearest = max(len(part) // 20, part.horizon + 1)
    behind = min(part.feature_set.lookback + part.horizon + 1, len(part) // 2)
    moves = generator.integers(nearest, len(part) - behind, SHIFTS)
    columns = np.stack([np.roll(labels, -int(move), axis=0).ravel() for move in moves])
    return np.asarray(np.abs((columns @ features) / counts).max(axis=1), dtype=np.float64)
