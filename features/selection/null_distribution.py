"""Null distribution: the best result to expect of many candidates without any skill."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from features.engine.operator import Vector
from features.selection.information_coefficient import (
    coefficient_standard_error,
    mean_coefficient,
    unit_feature_ranks,
)
from features.selection.training_part import TrainingPart

LABEL_SHIFTS = 200
SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class NullDistribution:
    """The best of `tried` candidates, compared with what chance alone would give.

    `best` is the largest absolute mean information coefficient, of the candidate `name`. `expected` is the
    mean of the largest of `tried` independent normal draws whose spread is the candidates' median standard
    error. `shifted` and `shifted_95` are the mean and the 95 % quantile of the largest when labels are
    shifted in time against the candidates, which keeps the candidates' correlation and autocorrelation.
    `p_value` is the share of shifts that reach `best`.
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
        """True if the best exceeds chance at 5 %."""
        return self.p_value <= SIGNIFICANCE_LEVEL and self.best > self.expected


def expected_maximum(draws: int) -> float:
    """Return the mean of the largest absolute value of `draws` standard normal variables, by integration."""
    steps = np.linspace(0.0, 9.0, 4501)
    below = np.array([erf(step / sqrt(2.0)) for step in steps]) ** max(draws, 1)
    return float(np.trapezoid(1.0 - below, steps))


def expected_best(errors: Vector, tried: int) -> float:
    """Return the mean of the largest of `tried` normal draws with the median of the standard `errors`."""
    finite = errors[np.isfinite(errors)]
    return expected_maximum(tried) * (float(np.median(finite)) if len(finite) else 0.0)


def null_distribution(part: TrainingPart, tried: int, seed: int = 0) -> NullDistribution:
    """Compare the best candidate of `part` with chance, given that `tried` candidates were drawn."""
    coefficients = part.coefficients
    means = mean_coefficient(coefficients)
    errors = coefficient_standard_error(coefficients, part.horizon)
    index = int(np.argmax(np.abs(means)))
    best = float(abs(means[index]))
    tried = max(tried, len(part.names))
    largest = _shifted_maxima(part, np.random.default_rng(seed))
    return NullDistribution(
        tried=tried,
        name=part.names[index],
        best=best,
        expected=expected_best(errors, tried),
        shifted=float(largest.mean()),
        shifted_95=float(np.quantile(largest, 1 - SIGNIFICANCE_LEVEL)),
        p_value=float((1 + (largest >= best).sum()) / (1 + len(largest))),
    )


def _shifted_maxima(part: TrainingPart, generator: np.random.Generator) -> Vector:
    """Return the largest absolute mean information coefficient under each circular shift, `[SHIFTS]`."""
    labels = unit_feature_ranks(part.target, part.labelled).astype(np.float32)
    features = part.ranks.reshape(-1, len(part.names))
    counts = np.maximum((part.ranks != 0).any(axis=1).sum(axis=0), 1)
    # Candidates are paired with later labels. Below a twentieth of the period, slow candidates would still
    # predict; past the wrap-around they meet earlier labels, which must precede their whole lookback.
    nearest = max(len(part) // 20, part.horizon + 1)
    behind = min(part.feature_set.lookback + part.horizon + 1, len(part) // 2)
    moves = generator.integers(nearest, len(part) - behind, LABEL_SHIFTS)
    columns = np.stack([np.roll(labels, -int(move), axis=0).ravel() for move in moves])
    return np.asarray(np.abs((columns @ features) / counts).max(axis=1), dtype=np.float64)
