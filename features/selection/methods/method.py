"""Selection methods by name: each scores every candidate on the training part, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from alphaloop.errors import InputError, UnknownNameError
from features.engine.operator import Vector
from features.selection.information_coefficient import mean_coefficient
from features.selection.methods.elimination import elimination
from features.selection.methods.genetic import genetic
from features.selection.methods.lasso import lasso
from features.selection.methods.mutual_information import mutual_information
from features.selection.methods.permutation_importance import permutation_importance
from features.selection.training_part import TrainingPart


@dataclass(frozen=True, slots=True)
class Method:
    """`score(part, seed)` returns float64 `[F]`, higher is better; `says` describes the score."""

    score: Callable[[TrainingPart, int], Vector]
    says: str


def information_score(part: TrainingPart, seed: int = 0) -> Vector:
    """Score features by the absolute mean information coefficient, `[F]`."""
    del seed
    return np.abs(mean_coefficient(part.coefficients))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "information": Method(information_score, "size of the mean rank correlation with the label"),
        "mutual_information": Method(
            mutual_information, "nats shared with doing better than the others, straight or bent"
        ),
        "lasso": Method(lasso, "weight at the penalty that folds of time choose"),
        "elimination": Method(elimination, "how long it stays while the least needed goes"),
        "permutation": Method(permutation_importance, "what trees lose on later folds when it is shuffled"),
        "genetic": Method(genetic, "how often it is in the best sets that a search finds"),
    }
)


def chosen_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Return the methods called `names`, all if empty. Raises `InputError` for unknown or repeated names."""
    for name in names:
        if name not in METHODS:
            raise UnknownNameError("method", name, METHODS)
    if len(set(names)) != len(names):
        raise InputError(f"methods names one twice: {', '.join(names)}")
    return tuple(names) or tuple(METHODS)
