"""Scoring of one request, or of a batch, by one version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import FeatureSetMismatchError, ServingError
from alphaloop.forecasts import SymbolStatus, hash_inputs
from serving.inference.model_cache import LoadedModel
from serving.inference.values import PrecomputedScores, ScoringInputs, VersionScores
from serving.protocol.messages import Panel, Scores


def score(loaded: LoadedModel, inputs: ScoringInputs, rotate: int = 0) -> VersionScores:
    """Score one request by one version; a failure is not raised but set as `error`.

    `rotate` is the fault drill of a rollout's override: the features of each row are rotated by so many
    columns.
    """
    separate = inputs.per_version.get(loaded.version)
    if isinstance(separate, str):
        return replace(unscored(loaded.version, separate, inputs), digest=loaded.card.digest)
    if separate is not None:
        return score(loaded, separate, rotate)
    if inputs.full_universe is not None and loaded.universe.scored_whole:
        whole = score(loaded, loaded.universe.select_inputs(inputs.full_universe), rotate)
        return loaded.universe.select_scores(whole, inputs.symbols)
    began = monotonic()
    panel = _within_lookback(loaded, inputs)
    if rotate:
        panel = np.roll(panel, rotate, axis=-1)
    precomputed = inputs.precomputed_by(loaded.model, loaded.version, rotate)
    error = None
    try:
        if inputs.feature_set is not None:
            loaded.require_feature_set(inputs.feature_set)
            loaded.universe.require_same_universe(inputs.universe)
        scores = loaded.score(panel, inputs.complete) if precomputed is None else precomputed.scores
    except (ServingError, FeatureSetMismatchError) as failure:
        error, scores = str(failure), _no_scores(inputs)
    return VersionScores(
        version=loaded.version,
        digest=loaded.card.digest,
        feature_set=loaded.card.feature_set,
        scores=scores,
        panel=panel,
        input_hash=hash_inputs(panel),
        latency_ms=(inputs.read_seconds + monotonic() - began + (precomputed.seconds if precomputed else 0.0))
        * 1e3,
        statuses=_all_ok(scores) if inputs.complete and error is None else _statuses(scores),
        error=error,
    )


def score_together(loaded: LoadedModel, several: Sequence[ScoringInputs]) -> list[ScoringInputs]:
    """Score several complete inputs in one run, and return them with their scores in `precomputed`.

    Only for a version whose scores do not depend on the other symbols. Raises `ServingError` if it fails.
    """
    began = monotonic()
    panels = [_within_lookback(loaded, inputs) for inputs in several]
    scores = loaded.score(np.concatenate(panels), complete=True)
    seconds = monotonic() - began
    ends = np.cumsum([len(panel) for panel in panels])
    parts = np.split(scores, ends[:-1])
    reported = [int(ends[-1]), *[0] * (len(parts) - 1)]
    return [
        replace(inputs, precomputed=PrecomputedScores(loaded.model, loaded.version, part, seconds, symbols))
        for inputs, part, symbols in zip(several, parts, reported, strict=True)
    ]


def unscored(version: str, error: str, inputs: ScoringInputs) -> VersionScores:
    """Build the result of a version without scores, all NaN with an `error`."""
    panel = inputs.panel[:, -1:, :]
    scores = _no_scores(inputs)
    return VersionScores(
        version=version,
        digest="",
        feature_set="",
        scores=scores,
        panel=panel,
        input_hash=hash_inputs(panel),
        latency_ms=inputs.read_seconds * 1e3,
        statuses=_statuses(scores),
        error=error,
    )


def _within_lookback(loaded: LoadedModel, inputs: ScoringInputs) -> Panel:
    """Return the rows within the version's lookback."""
    return inputs.panel[:, -loaded.card.lookback :, :]


def _all_ok(scores: Scores) -> tuple[SymbolStatus, ...]:
    return (SymbolStatus.OK,) * len(scores)


def _statuses(scores: Scores) -> tuple[SymbolStatus, ...]:
    finite = np.isfinite(scores)
    if finite.all():
        return _all_ok(scores)
    return tuple(SymbolStatus.OK if is_finite else SymbolStatus.MISSING for is_finite in finite)


def _no_scores(inputs: ScoringInputs) -> Scores:
    return np.full(len(inputs.panel), np.nan, np.float32)
