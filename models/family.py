"""The interface of model families, and the domains of their parameters."""

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
    """A parameter that takes one of several values.

    Parameters
    ----------
    options : tuple
        The values.
    """

    options: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float in `[low, high]`, uniformly distributed.

    Parameters
    ----------
    low, high : float
        Bounds.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A float in `[low, high]`, uniformly distributed on a logarithmic scale.

    Parameters
    ----------
    low, high : float
        Bounds, above 0.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class IntRange:
    """A whole number in `[low, high]`, both included.

    Parameters
    ----------
    low, high : int
        Bounds.
    """

    low: int
    high: int


Domain = Choice | Uniform | LogUniform | IntRange


class FittedModel(Protocol):
    """A fitted model; panels are float32 `[symbols, lookback, features]` without NaN."""

    def predict(self, panel: Panel) -> Scores:
        """Compute scores with the native library, float32 `[symbols]`."""
        ...

    def to_onnx(self) -> bytes:
        """Convert to ONNX, normalisation included: input `panel`, output `scores`."""
        ...

    def hard_inputs(self, panel: Panel) -> Panel:
        """Return inputs near `panel` that would reveal a wrong export, `[rows, lookback, features]`.

        For trees these are rows on either side of the thresholds; a model without thresholds has none.
        """
        ...


class Family(Protocol):
    """A kind of model; a module in `models.zoo` that defines `FAMILY` adds one.

    A family that learns nothing, and serves as a benchmark, may define an attribute `baseline` that is True.
    """

    @property
    def name(self) -> str:
        """Name of the family on the command line."""
        ...

    @property
    def lookback(self) -> int:
        """Rows of features that one score depends on."""
        ...

    @property
    def cross_sectional(self) -> bool:
        """True if a score depends on the other symbols of the request."""
        ...

    @property
    def score_kind(self) -> str:
        """Meaning of a score: `z_score`, `expected_return`, `probability`, `target_weight` or `signal`."""
        ...

    def default_parameters(self) -> dict[str, Any]:
        """Return the default parameters."""
        ...

    def search_space(self) -> dict[str, Domain]:
        """Return the domains of the tuned parameters; empty for a family without parameters."""
        ...

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedModel:
        """Fit the model; the same seed gives the same model.

        Parameters
        ----------
        dataset : Dataset
            Features and labels; only the bars of `dataset.rows` may be used.
        parameters : mapping of str to object
            A value for each of the default parameters.
        seed : int
            Seed of every random number.

        Returns
        -------
        FittedModel
            The fitted model.
        """
        ...


def is_baseline(family: Family) -> bool:
    """Test for a family that learns nothing and serves as a benchmark."""
    return bool(getattr(family, "baseline", False))


def complete_parameters(family: Family, given: Parameters | None) -> dict[str, Any]:
    """Complete the `given` parameters with the family's defaults.

    Raises `UnknownNameError` for a parameter that the family does not have.
    """
    known = family.default_parameters()
    for name in given or {}:
        if name not in known:
            raise UnknownNameError("parameter", name, known, where=f"family '{family.name}'")
    return known | dict(given or {})
