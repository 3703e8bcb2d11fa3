"""Values of a scored request: its inputs, and one version's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.forecasts import SymbolStatus
from serving.protocol.messages import Panel, Scores


@dataclass(frozen=True, slots=True)
class ScoringInputs:
    """Inputs of some symbols and their origin.

    `panel`: float32 `[symbols, rows, features]`, with at least the rows of the longest lookback.
    `complete`: every value of `panel` is finite.
    `read_seconds`: seconds from the request's arrival until the inputs were read.
    `feature_set`: hash of the feature set; None if the client sent the panel itself.
    `universe`: universe hash, as in `features.store.windows.StoredWindow`.
    """

    panel: Panel
    complete: bool
    read_seconds: float
    symbols: tuple[str, ...] = ()
    feature_timestamp: datetime | None = None
    feature_set: str | None = None
    snapshot: str = ""
    universe: str = ""


@dataclass(frozen=True, slots=True)
class RequestInputs:
    """Inputs that were read for one request, from which each version's scoring is chosen.

    `requested`: inputs of the symbols that the client asked for.
    `read`: inputs of all symbols that were read, for versions that are scored on their whole universe; the
    same object as `requested` where no more were read.
    `separate`: by version, other inputs (of another feature set, universe or length), or the reason why there
    are none.
    """

    requested: ScoringInputs
    read: ScoringInputs
    separate: Mapping[str, RequestInputs | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionScores:
    """One version's scores of one request.

    `panel`: panel as the model saw it; `input_hash` is its hash.
    `latency_ms`: time that the request would have taken by this version alone, reading plus scoring.
    `statuses`: one a symbol, `missing` where there is no score.
    `error`: reason of a failure; then all scores are NaN.
    `stale`: the scores are those of an earlier request.
    `run_seconds`: duration of the model run; in a batch, that of the whole run.
    `run_symbols`: number of symbols in that run, reported on the first request of a batch and 0 on the rest,
    so that metrics do not count it twice.
    """

    version: str
    digest: str
    feature_set: str
    scores: Scores
    panel: Panel
    input_hash: str
    latency_ms: float
    statuses: tuple[SymbolStatus, ...]
    error: str | None = None
    stale: bool = False
    run_seconds: float = 0.0
    run_symbols: int = 0


Scoring = Callable[[], VersionScores]
"""Scoring of one request by one version, chosen where the request is prepared."""
