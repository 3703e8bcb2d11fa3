"""The card: everything that is known about a model version, beside its ONNX file.

It is JSON that other programs can read: no NaN and no infinity (a figure that could not be had is
null), keys in a fixed order, so that the same card always gives the same text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from alphaloop.errors import DamagedStoreError

# The release before refuses a key that it does not know, but none inside `ranges`: there they lie.
INSIDE: Mapping[str, Any] = {"universe": (), "definition": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model version is, where it comes from, and how it may be expected to behave.

    `inputs` are the names of the ONNX inputs; `score_kind` says what a score means; `horizon` is in
    bars from the first obtainable fill. `train_first`, `train_last` and `created_at` are ISO
    timestamps in UTC. `walk_forward` has one row a fold, `metrics` the figures over all folds
    (`ic`, `ic_tstat`, `sharpe_net`, `active_ir_net`, `turnover`, `deflated_sharpe`, `trials`, …),
    `ranges` what live behaviour to expect, `fidelity` the comparison of the ONNX file with the model
    that it came from, `gate` the verdict (`passed`, `reasons`). `digest` is the SHA-256 of the file.
    `universe` are the symbols that it was trained on, in training's order, and `definition` says what its
    features are (`features.feature_set.FeatureSet.definition`); both are empty on a card of before.
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

    @property
    def passed(self) -> bool:
        """Whether the promotion gate let this version pass."""
        return bool(self.gate.get("passed", False))

    def metric(self, name: str) -> float:
        """The figure `name` of `metrics`; NaN where it could not be had."""
        value = self.metrics.get(name)
        return math.nan if value is None else float(value)

    def places(self, symbols: Sequence[str]) -> list[int]:
        """Where in `symbols` those stand that the file is given together, in the order it is given them.

        All, unless a score depends on the others: then the universe, as far as it is there.
        """
        if not (self.cross_sectional and self.universe):
            return list(range(len(symbols)))
        place = {symbol: index for index, symbol in enumerate(symbols)}
        return [place[symbol] for symbol in self.universe if symbol in place]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no NaN."""
        stored = plain(asdict(self))
        for name in INSIDE:
            value = stored.pop(name)
            if value:
                stored["ranges"][name] = value
        return json.dumps(stored, sort_keys=True, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Parse a stored card; raises `DamagedStoreError` where it is none."""
        try:
            stored = json.loads(text)
            inside = {name: stored.pop(name, absent) for name, absent in INSIDE.items()}
            values = {one.name: stored.pop(one.name) for one in fields(cls) if one.name not in INSIDE}
            values["ranges"] = dict(values["ranges"])
            values |= {name: values["ranges"].pop(name, value) for name, value in inside.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStoreError(f"the model card {text[:60]!r} cannot be read: {error!r}") from error
        if stored:
            raise DamagedStoreError(f"the model card has unknown keys: {', '.join(sorted(stored))}")
        for name in ("features", "inputs", "walk_forward", "universe"):
            values[name] = tuple(values[name])
        return cls(**values)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy scalars and arrays become numbers and lists, NaN null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
