"""Scoring one request by one version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import FeatureSetMismatchError, ServingError
from alphaloop.prediction import SymbolStatus, hash_inputs
from serving.engine import LoadedModel
from serving.protocol import Panel, Scores


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request is scored on, and where it comes from.

    `panel` is float32 `[symbols, rows, features]`, with at least the rows that the longest lookback
    needs, and `complete` where each of its values is finite; `feature_set` is None where the client sent
    the panel itself, `universe` that of `features.windows.StoredWindow`. `waited` is how many seconds after
    the request's arrival all this was there. `read` is set where more symbols were read than were asked for,
    for versions that are scored on their whole universe.
    """

    panel: Panel
    complete: bool
    waited: float
    symbols: tuple[str, ...] = ()
    feature_timestamp: datetime | None = None
    feature_set: str | None = None
    snapshot: str = ""
    universe: str = ""
    read: Inputs | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One version's scores of one request.

    `seen` is the panel as the model saw it and `input_hash` its hash. `latency_ms` is what the request
    would have taken by this version alone: until its inputs were there, and then until its scores were.
    `statuses` has one a symbol, `missing` where there is no score. Where `error` is set, all scores are
    NaN; `stale` marks those of an earlier request.
    """

    version: str
    digest: str
    feature_set: str
    scores: Scores
    seen: Panel
    input_hash: str
    latency_ms: float
    statuses: tuple[SymbolStatus, ...]
    error: str | None = None
    stale: bool = False


def score(loaded: LoadedModel, inputs: Inputs, rotate: int = 0) -> Scored:
    """The scores of one version. A model that fails is not raised: its `error` is set.

    `rotate` is the drill of a rollout's override: the features of each row move by that many places.
    """
    if inputs.read is not None and loaded.universe.whole:
        whole = score(loaded, loaded.universe.inputs(inputs.read), rotate)
        return loaded.universe.answer(whole, inputs.symbols)
    began = monotonic()
    seen = inputs.panel[:, -loaded.card.lookback :, :]
    if rotate:
        seen = np.roll(seen, rotate, axis=-1)
    error = None
    try:
        if inputs.feature_set is not None:
            loaded.require_feature_set(inputs.feature_set)
            loaded.universe.require_ranks_over(inputs.universe)
        scores = loaded.score(seen, inputs.complete)
    except (ServingError, FeatureSetMismatchError) as failure:
        error, scores = str(failure), _no_scores(inputs)
    return Scored(
        version=loaded.version,
        digest=loaded.card.digest,
        feature_set=loaded.card.feature_set,
        scores=scores,
        seen=seen,
        input_hash=hash_inputs(seen),
        latency_ms=(inputs.waited + monotonic() - began) * 1e3,
        statuses=_all_ok(scores) if inputs.complete and error is None else _statuses(scores),
        error=error,
    )


def unscored(version: str, error: str, inputs: Inputs) -> Scored:
    """The place of a version that could not be loaded."""
    seen = inputs.panel[:, -1:, :]
    scores = _no_scores(inputs)
    return Scored(
        version=version,
        digest="",
        feature_set="",
        scores=scores,
        seen=seen,
        input_hash=hash_inputs(seen),
        latency_ms=inputs.waited * 1e3,
        statuses=_statuses(scores),
        error=error,
    )


def _all_ok(scores: Scores) -> tuple[SymbolStatus, ...]:
    return (SymbolStatus.OK,) * len(scores)


def _statuses(scores: Scores) -> tuple[SymbolStatus, ...]:
    finite = np.isfinite(scores)
    if finite.all():
        return _all_ok(scores)
    return tuple(SymbolStatus.OK if one else SymbolStatus.MISSING for one in finite)


def _no_scores(inputs: Inputs) -> Scores:
    return np.full(len(inputs.panel), np.nan, np.float32)
