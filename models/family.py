"""A model family: the one interface behind which every kind of model sits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.errors import UnknownNameError
from models.dataset import Dataset, Panel

Scores = npt.NDArray[np.float32]
Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    options: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float in `[low, high]`, each as likely."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A float in `[low, high]`, each order of magnitude as likely."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class IntRange:
    """A whole number in `[low, high]`, both included."""

    low: int
    high: int


Domain = Choice | Uniform | LogUniform | IntRange


class FittedModel(Protocol):
    """A model that has learned. Panels are float32 `[symbols, lookback, features]`, without NaN."""

    def predict(self, panel: Panel) -> Scores:
        """Scores by the native library, float32 `[symbols]`."""
        ...

    def to_onnx(self) -> bytes:
        """The model as ONNX, normalisation included: input `panel`, output `scores`."""
        ...

    def hard_inputs(self, panel: Panel) -> Panel:
        """Inputs near `panel` on which a wrong export would show, `[rows, lookback, features]`.

        For trees, rows on either side of the thresholds; a model without edges has none.
        """
        ...


class Family(Protocol):
    """A kind of model. A module in `models.zoo` that defines `FAMILY` adds one.

    `lookback` is how many rows of features a score sees; `cross_sectional` whether a score depends
    on the other symbols of the request; `score_kind` what a score means. A family that learns nothing, and
    is there to be beaten, may say so by an attribute `baseline` that is true.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def lookback(self) -> int:
        """Rows of features that one score sees."""
        ...

    @property
    def cross_sectional(self) -> bool:
        """Whether a score depends on the other symbols of the request."""
        ...

    @property
    def score_kind(self) -> str:
        """What a score means: `z_score`, `expected_return`, `probability`, `target_weight`, `signal`."""
        ...

    def default_parameters(self) -> dict[str, Any]:
        """The parameters that are used where none are given."""
        ...

    def search_space(self) -> dict[str, Domain]:
        """Where tuning may look; empty for a family without parameters."""
        ...

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedModel:
        """Learn from the rows of `dataset`; the same seed gives the same model."""
        ...


def is_baseline(family: Family) -> bool:
    """True for a family that learns nothing and is there to be beaten."""
    return bool(getattr(family, "baseline", False))


def complete_parameters(family: Family, given: Parameters | None) -> dict[str, Any]:
    """The family's defaults with those `given`; raises `UnknownNameError` for one it does not have."""
    known = family.default_parameters()
    for name in given or {}:
        if name not in known:
            raise UnknownNameError("parameter", name, known, where=f"family '{family.name}'")
    return known | dict(given or {})
