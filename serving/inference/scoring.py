"""Scoring of one request, or of a batch, by one version.

A version scores the requested symbols (`score_requested`), its whole universe (`score_universe`), or several
requests in one run (`score_together`). `choose_scorings` decides once for each request. A failure is not
raised but set as the `error` of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import FeatureSetMismatchError, ServingError
from alphaloop.forecasts import SymbolStatus, hash_inputs
from serving.inference.model_cache import LoadedModel
from serving.inference.router import RoutingTable
from serving.inference.values import RequestInputs, Scoring, ScoringInputs, VersionScores
from serving.protocol.messages import Panel, Scores


def choose_scorings(
    target: LoadedModel | RoutingTable, inputs: RequestInputs, rotate: int
) -> dict[str, Scoring]:
    """Choose the scoring of each version that may answer a request or shadow it, the champion first.

    Parameters
    ----------
    target : LoadedModel or RoutingTable
        Version that the request names, or the table that routes it.
    inputs : RequestInputs
        Inputs of the request.
    rotate : int
        Fault drill of a rollout's override: columns by which the challenger's features are rotated.

    Returns
    -------
    dict of str to callable
        Scoring by version. A challenger that cannot be scored on these inputs is left out.
    """
    if isinstance(target, LoadedModel):
        return {target.version: _choose_scoring(target, inputs)}
    document, challenger = target.document, target.challenger
    scorings = {document.champion: _choose_scoring(target.champion, inputs)}
    if not target.has_challenger or document.challenger is None:
        return scorings
    if challenger is None:
        error = target.challenger_error or "not loaded"
        scorings[document.challenger] = partial(unscored, document.challenger, error, inputs.requested)
    elif _challenger_accepts(challenger, target.champion, inputs):
        scorings[document.challenger] = _choose_scoring(challenger, inputs, rotate)
    return scorings


def score_requested(loaded: LoadedModel, inputs: ScoringInputs, rotate: int = 0) -> VersionScores:
    """Score the requested symbols on their own inputs, with features rotated by `rotate` columns."""
    began = monotonic()
    panel = _within_lookback(loaded, inputs)
    if rotate:
        panel = np.roll(panel, rotate, axis=-1)
    try:
        if inputs.feature_set is not None:
            loaded.require_feature_set(inputs.feature_set)
            loaded.universe.require_same_universe(inputs.universe)
        scores, error = loaded.score(panel, inputs.complete), None
    except (ServingError, FeatureSetMismatchError) as failure:
        scores, error = _no_scores(inputs), str(failure)
    return _version_scores(loaded, inputs, panel, scores, monotonic() - began, len(scores), error)


def score_universe(
    loaded: LoadedModel, read: ScoringInputs, asked: Sequence[str], rotate: int = 0
) -> VersionScores:
    """Score the version's whole universe, and take the scores of the symbols `asked`."""
    whole = score_requested(loaded, loaded.universe.select_inputs(read), rotate)
    return loaded.universe.select_scores(whole, asked)


def score_together(loaded: LoadedModel, several: Sequence[ScoringInputs]) -> list[VersionScores]:
    """Score several complete inputs in one run.

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
        _version_scores(loaded, inputs, panel, part, seconds, symbols)
        for inputs, panel, part, symbols in zip(several, panels, parts, reported, strict=True)
    ]


def unscored(version: str, error: str, inputs: ScoringInputs, digest: str = "") -> VersionScores:
    """Build the result of a version without scores, all NaN with an `error`."""
    panel = inputs.panel[:, -1:, :]
    scores = _no_scores(inputs)
    return VersionScores(
        version=version,
        digest=digest,
        feature_set="",
        scores=scores,
        panel=panel,
        input_hash=hash_inputs(panel),
        latency_ms=inputs.read_seconds * 1e3,
        statuses=_statuses(scores),
        error=error,
    )


def is_batchable(loaded: LoadedModel, inputs: RequestInputs) -> bool:
    """Return whether the version may score this request in one run with others."""
    return (
        inputs.requested.complete
        and not loaded.card.cross_sectional
        and loaded.version not in inputs.separate
    )


def _choose_scoring(loaded: LoadedModel, inputs: RequestInputs, rotate: int = 0) -> Scoring:
    own = inputs.separate.get(loaded.version, inputs)
    if isinstance(own, str):
        return partial(unscored, loaded.version, own, inputs.requested, loaded.card.digest)
    if own.read is not own.requested and loaded.universe.scored_whole:
        return partial(score_universe, loaded, own.read, own.requested.symbols, rotate)
    return partial(score_requested, loaded, own.requested, rotate)


def _challenger_accepts(challenger: LoadedModel, champion: LoadedModel, inputs: RequestInputs) -> bool:
    """Return whether the challenger can be scored on these inputs.

    A panel from a client has the champion's features and lookback, which the challenger may not share.
    """
    requested = inputs.requested
    if requested.feature_set is not None:
        return inputs.read is requested or challenger.universe.can_score(requested.symbols)
    symbols, rows = requested.panel.shape[:2]
    if symbols > challenger.universe.max_panel_symbols:
        return False
    return challenger.card.lookback <= rows and challenger.card.feature_set == champion.card.feature_set


def _version_scores(
    loaded: LoadedModel,
    inputs: ScoringInputs,
    panel: Panel,
    scores: Scores,
    seconds: float,
    symbols: int,
    error: str | None = None,
) -> VersionScores:
    began = monotonic()
    input_hash = hash_inputs(panel)
    return VersionScores(
        version=loaded.version,
        digest=loaded.card.digest,
        feature_set=loaded.card.feature_set,
        scores=scores,
        panel=panel,
        input_hash=input_hash,
        latency_ms=(inputs.read_seconds + seconds + monotonic() - began) * 1e3,
        statuses=_all_ok(scores) if inputs.complete and error is None else _statuses(scores),
        error=error,
        run_seconds=seconds,
        run_symbols=symbols,
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
