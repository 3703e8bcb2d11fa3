"""Genetic search over sets of features: sets that predict later folds best are crossed and mutated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.operator import Vector
from features.selection.folds import time_folds
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """Limits of a search: `generations` of `population` sets of at most `size` features.

    At most `generations * population` sets are evaluated.
    """

    population: int = 100
    generations: int = 60
    size: int = 12
    elite: int = 20
    mutation: float = 0.25


def genetic(part: TrainingPart, seed: int = 0, budget: SearchBudget | None = None) -> Vector:
    """Score features by their frequency in the best sets, weighted by fitness, `[F]` from 0 to 1.

    The fitness of a set is the mean correlation of its ridge regression with the label on purged folds after
    the training rows, less a small penalty for each feature (Holland 1975). The same seed gives the same
    result.
    """
    budget = budget or SearchBudget()
    search = _Search(part, budget, np.random.default_rng(seed))
    population = [search.drawn() for _ in range(budget.population)]
    for _ in range(budget.generations - 1):
        best = sorted(population, key=search.fitness, reverse=True)[: budget.elite]
        population = best + [search.child(best) for _ in range(budget.population - budget.elite)]
    for one in population:
        search.fitness(one)
    return search.frequencies()


class _Search:
    """Sets evaluated so far, with their fitness."""

    def __init__(self, part: TrainingPart, budget: SearchBudget, chance: np.random.Generator) -> None:
        self._budget, self._chance, self._count = budget, chance, len(part.names)
        self._folds = [
            (NormalEquations.of(part, fold.train), NormalEquations.of(part, fold.test))
            for fold in time_folds(len(part), part.horizon)
        ]
        self._known: dict[tuple[int, ...], float] = {}

    def drawn(self) -> tuple[int, ...]:
        """Draw a random set of one to `size` features."""
        size = int(self._chance.integers(1, min(self._budget.size, self._count) + 1))
        return tuple(sorted(self._chance.choice(self._count, size, replace=False).tolist()))

    def fitness(self, places: tuple[int, ...]) -> float:
        """Evaluate a set as described in `genetic`, once."""
        if places not in self._known:
            chosen = np.array(places, dtype=np.intp)
            found = [test.correlation(chosen, train.ridge(chosen)) for train, test in self._folds]
            self._known[places] = float(np.mean(found)) - 5e-4 * len(places)
        return self._known[places]

    def child(self, parents: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Cross two parents, taking each feature with even chance, and perhaps add, drop or replace one."""
        first, second = (parents[int(self._chance.integers(len(parents)))] for _ in range(2))
        pool = sorted(set(first) | set(second))
        kept = {one for one in pool if (one in first and one in second) or self._chance.random() < 0.5}
        if self._chance.random() < 0.5 and len(kept) > 1:
            kept.discard(sorted(kept)[int(self._chance.integers(len(kept)))])
        if not kept or self._chance.random() < self._budget.mutation * 2:
            kept.add(int(self._chance.integers(self._count)))
        while len(kept) > self._budget.size:
            kept.discard(sorted(kept)[int(self._chance.integers(len(kept)))])
        return tuple(sorted(kept))

    def frequencies(self) -> Vector:
        """Return the share of each feature in the best tenth of all sets with predictive power."""
        ordered = sorted(self._known.items(), key=lambda one: (-one[1], one[0]))
        best = [one for one in ordered[: max(len(ordered) // 10, self._budget.elite)] if one[1] > 0]
        found = np.zeros(self._count)
        for places, fitness in best:
            found[list(places)] += fitness
        return found / max(sum(fitness for _, fitness in best), 1e-12)
