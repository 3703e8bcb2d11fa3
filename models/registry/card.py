"""Model cards: everything known about a model version, as JSON beside its ONNX file.

Other programs can read the JSON: no NaN and no infinity (a figure that could not be computed is null), and
keys in a fixed order, so that the same card always gives the same text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from alphaloop.errors import DamagedStoreError
from alphaloop.runtime.jsonable import to_jsonable

FIELDS_INSIDE_RANGES: Mapping[str, Any] = {"universe": (), "definition": {}, "strategy": {}}
"""Fields that are stored inside `ranges`, with their default values.

The previous release refuses unknown keys everywhere else.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The description of a model version: origin, interface, results and expected behaviour.

    Timestamps are ISO texts in UTC.

    Parameters
    ----------
    model, family : str
        Name of the model, and its family.
    parameters : mapping of str to object
        Parameters of the fit.
    feature_set : str
        Hash of the feature set.
    features : tuple of str
        Names of the features, in the order of the inputs.
    inputs : tuple of str
        Names of the ONNX inputs.
    lookback : int
        Rows of features in one input.
    horizon : int
        Bars of a label, from the first obtainable fill.
    score_kind : str
        Meaning of a score, as `models.family.Family.score_kind`.
    cross_sectional : bool
        True if a score depends on the other symbols of the request.
    snapshot : str
        Identifier of the training data.
    train_first, train_last : str
        First and last bar that the model learned from.
    pipeline_run : str or None
        Pipeline run that trained the model.
    code_revision : str
        Revision of alphaloop.
    seed : int
        Seed of the training.
    walk_forward : tuple of mapping
        One row per test fold.
    metrics : mapping of str to float or None
        Figures over all folds: `ic`, `ic_tstat`, `sharpe_net`, `active_ir_net`, `turnover`,
        `deflated_sharpe`, `trials`, …
    ranges : mapping
        Distributions of live behaviour to expect.
    fidelity : mapping
        Comparison of the ONNX file with the native model.
    gate : mapping
        Verdict of the promotion gate: `passed`, `reasons`.
    digest : str
        SHA-256 of the ONNX file.
    created_at : str
        Time of the training.
    universe : tuple of str
        Symbols of the training data, in their order; empty on a card of an earlier release.
    definition : mapping
        Formulas of the features (`features.feature_set.FeatureSet.definition`); empty on a card of an earlier
        release.
    strategy : mapping
        `name`, `parameters` and `digest` of the strategy that the figures are of; empty on a card of an
        earlier release, which used the strategy `allocation`.
    """

    model: str
    family: str
    parameters: Mapping[str, Any]
    feature_set: str
    features: tuple[str, ...]
    inputs: tuple[str, ...]
    lookback: int
    horizon: int
    score_kind: str
    cross_sectional: bool
    snapshot: str
    train_first: str
    train_last: str
    pipeline_run: str | None
    code_revision: str
    seed: int
    walk_forward: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, float | None]
    ranges: Mapping[str, Any]
    fidelity: Mapping[str, Any]
    gate: Mapping[str, Any]
    digest: str
    created_at: str
    universe: tuple[str, ...] = ()
    definition: Mapping[str, Any] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if the promotion gate approved this version."""
        return bool(self.gate.get("passed", False))

    def metric(self, name: str) -> float:
        """Return the figure `name` of `metrics`; NaN where it could not be computed."""
        value = self.metrics.get(name)
        return math.nan if value is None else float(value)

    def run_parameters(self) -> dict[str, str]:
        """Return the parameters that MLflow's page shows of the version's run."""
        shown = {"family": self.family, "seed": self.seed, "horizon": self.horizon, **self.parameters}
        return {name: str(value) for name, value in shown.items()}

    def run_metrics(self) -> dict[str, float]:
        """Return the figures that MLflow's page shows of the version's run."""
        return {name: float(value) for name, value in self.metrics.items() if value is not None}

    def places(self, symbols: Sequence[str]) -> list[int]:
        """Return the indices into `symbols` of the model's inputs, in model order.

        These are all symbols, unless a score depends on the others: then they are the members of the universe
        that `symbols` has.
        """
        if not (self.cross_sectional and self.universe):
            return list(range(len(symbols)))
        index_of = {symbol: index for index, symbol in enumerate(symbols)}
        return [index_of[symbol] for symbol in self.universe if symbol in index_of]

    def to_json(self) -> str:
        """Serialise as canonical JSON: sorted keys, no NaN."""
        stored = to_jsonable(asdict(self))
        for name in FIELDS_INSIDE_RANGES:
            value = stored.pop(name)
            if value:
                stored["ranges"][name] = value
        return json.dumps(stored, sort_keys=True, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Parse a stored card; raise `DamagedStoreError` if it cannot be read."""
        try:
            stored = json.loads(text)
            inside = {name: stored.pop(name, absent) for name, absent in FIELDS_INSIDE_RANGES.items()}
            values = {
                one.name: stored.pop(one.name) for one in fields(cls) if one.name not in FIELDS_INSIDE_RANGES
            }
            values["ranges"] = dict(values["ranges"])
            values |= {name: values["ranges"].pop(name, value) for name, value in inside.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStoreError(f"the model card {text[:60]!r} cannot be read: {error!r}") from error
        if stored:
            raise DamagedStoreError(f"the model card has unknown keys: {', '.join(sorted(stored))}")
        for name in ("features", "inputs", "walk_forward", "universe"):
            values[name] = tuple(values[name])
        return cls(**values)
