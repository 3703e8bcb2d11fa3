"""Scoring one request by one version, and choosing whose scores are the answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import FeatureSetMismatchError, ServingError
from alphaloop.prediction import Route, SymbolStatus, hash_inputs
from serving.engine import LoadedModel
from serving.protocol import Panel, Scores


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request is scored on, and where it comes from.

    `panel` is float32 `[symbols, rows, features]`, with at least the rows that the longest lookback
    needs; `feature_set` is None where the client sent the panel itself. `started` is the moment
    (`alphaloop.clock.monotonic`) at which the request came.
    """

    panel: Panel
    started: float
    symbols: tuple[str, ...] = ()
    feature_timestamp: datetime | None = None
    feature_set: str | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """One version's scores of one request.

    `seen` is the panel as the model saw it and `input_hash` its hash. `latency_ms` runs from the
    request's arrival to these scores. `statuses` has one a symbol, `missing` where there is no score.
    Where `error` is set, all scores are NaN; `stale` marks those
    of an earlier request.
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
    seen = inputs.panel[:, -loaded.card.lookback :, :]
    if rotate:
        seen = np.roll(seen, rotate, axis=-1)
    error = None
    try:
        if inputs.feature_set is not None:
            loaded.require_feature_set(inputs.feature_set)
        scores = loaded.score(seen)
    except (ServingError, FeatureSetMismatchError) as failure:
        error, scores = str(failure), _no_scores(inputs)
    return Scored(
        version=loaded.version,
        digest=loaded.card.digest,
        feature_set=loaded.card.feature_set,
        scores=scores,
        seen=seen,
        input_hash=hash_inputs(seen),
        latency_ms=_elapsed(inputs),
        statuses=_statuses(scores),
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
        latency_ms=_elapsed(inputs),
        statuses=_statuses(scores),
        error=error,
    )


def arbitrate(
    wanted: Route, champion: Scored, challenger: Scored | None
) -> tuple[Route, Scored, Scored | None]:
    """The route, the answer and its shadow. Raises `ServingError` if the one that must answer failed.

    The challenger answers only a canary's request, and only if it did not fail; else the champion does.
    """
    if wanted is Route.CANARY and challenger is not None and challenger.error is None:
        return Route.CANARY, challenger, champion
    if champion.error is not None:
        raise ServingError(champion.error)
    return (Route.FALLBACK if wanted is Route.CANARY else Route.CHAMPION), champion, challenger


def _statuses(scores: Scores) -> tuple[SymbolStatus, ...]:
    finite = np.isfinite(scores)
    if finite.all():
        return (SymbolStatus.OK,) * len(scores)
    return tuple(SymbolStatus.OK if one else SymbolStatus.MISSING for one in finite)


def _no_scores(inputs: Inputs) -> Scores:
    return np.full(len(inputs.panel), np.nan, np.float32)


def _elapsed(inputs: Inputs) -> float:
    return (monotonic() - inputs.started) * 1_000.0
