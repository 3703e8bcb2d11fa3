"""Scoring one request by one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import FeatureSetMismatchError, ServingError
from alphaloop.prediction import SymbolStatus, hash_inputs
from serving.engine import LoadedModel
from serving.protocol import Panel, Scores


@dataclass(frozen=True, slots=True)
class Ahead:
    """Scores that `version` has given already, in one run with other requests' that took `seconds`.

    `symbols` is how many it scored, told with one request of the run and 0 with the others.
    """

    version: LoadedModel
    scores: Scores
    seconds: float
    symbols: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request is scored on, and where it comes from.

    `panel` is float32 `[symbols, rows, features]`, with at least the rows that the longest lookback
    needs, and `complete` where each of its values is finite; `feature_set` is None where the client sent
    the panel itself, `universe` that of `features.windows.StoredWindow`. `waited` is how many seconds after
    the request's arrival all this was there. `read` is set where more symbols were read than were asked for,
    for versions that are scored on their whole universe, and `ahead` where one has scored them in a batch.
    `apart` has the inputs of versions that need others (of another feature set, universe or length), or why
    there are none, by version.
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
    ahead: Ahead | None = None
    apart: Mapping[str, Inputs | str] = field(default_factory=dict)

    def complete_for(self, loaded: LoadedModel) -> bool:
        """Whether the version is scored on this `panel`, and none of its values is missing."""
        return self.complete and loaded.version not in self.apart

    def ahead_by(self, loaded: LoadedModel, rotate: int) -> Ahead | None:
        """The scores that this very version has given already; of rotated features there are none."""
        return self.ahead if self.ahead is not None and self.ahead.version is loaded and not rotate else None


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
    apart = inputs.apart.get(loaded.version)
    if isinstance(apart, str):
        return replace(unscored(loaded.version, apart, inputs), digest=loaded.card.digest)
    if apart is not None:
        return score(loaded, apart, rotate)
    if inputs.read is not None and loaded.universe.whole:
        whole = score(loaded, loaded.universe.inputs(inputs.read), rotate)
        return loaded.universe.answer(whole, inputs.symbols)
    began = monotonic()
    seen = _seen(loaded, inputs)
    if rotate:
        seen = np.roll(seen, rotate, axis=-1)
    ahead = inputs.ahead_by(loaded, rotate)
    error = None
    try:
        if inputs.feature_set is not None:
            loaded.require_feature_set(inputs.feature_set)
            loaded.universe.require_ranks_over(inputs.universe)
        scores = loaded.score(seen, inputs.complete) if ahead is None else ahead.scores
    except (ServingError, FeatureSetMismatchError) as failure:
        error, scores = str(failure), _no_scores(inputs)
    return Scored(
        version=loaded.version,
        digest=loaded.card.digest,
        feature_set=loaded.card.feature_set,
        scores=scores,
        seen=seen,
        input_hash=hash_inputs(seen),
        latency_ms=(inputs.waited + monotonic() - began + (ahead.seconds if ahead else 0.0)) * 1e3,
        statuses=_all_ok(scores) if inputs.complete and error is None else _statuses(scores),
        error=error,
    )


def score_together(loaded: LoadedModel, several: Sequence[Inputs]) -> list[Inputs]:
    """`several` inputs, each `complete`, with their scores `ahead`, from one run of the version.

    Only for a version whose scores do not depend on the other symbols. Raises `ServingError` if it fails.
    """
    began = monotonic()
    panels = [_seen(loaded, one) for one in several]
    scores = loaded.score(np.concatenate(panels), complete=True)
    seconds = monotonic() - began
    ends = np.cumsum([len(panel) for panel in panels])
    parts = np.split(scores, ends[:-1])
    told = [int(ends[-1]), *[0] * (len(parts) - 1)]
    return [
        replace(one, ahead=Ahead(loaded, part, seconds, symbols))
        for one, part, symbols in zip(several, parts, told, strict=True)
    ]


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


def _seen(loaded: LoadedModel, inputs: Inputs) -> Panel:
    """The rows that the version looks at."""
    return inputs.panel[:, -loaded.card.lookback :, :]


def _all_ok(scores: Scores) -> tuple[SymbolStatus, ...]:
    return (SymbolStatus.OK,) * len(scores)


def _statuses(scores: Scores) -> tuple[SymbolStatus, ...]:
    finite = np.isfinite(scores)
    if finite.all():
        return _all_ok(scores)
    return tuple(SymbolStatus.OK if one else SymbolStatus.MISSING for one in finite)


def _no_scores(inputs: Inputs) -> Scores:
    return np.full(len(inputs.panel), np.nan, np.float32)
