"""Values of a scored request: its inputs, precomputed scores, and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.forecasts import SymbolStatus
from serving.protocol.messages import Panel, Scores


@dataclass(frozen=True, slots=True)
class PrecomputedScores:
    """Scores that `version` of `model` computed in one run with other requests.

    `seconds` is the duration of that run. `symbols` is the batch size, reported on the first request of a
    batch and 0 on the rest, so that metrics do not count it twice.
    """

    model: str
    version: str
    scores: Scores
    seconds: float
    symbols: int


@dataclass(frozen=True, slots=True)
class ScoringInputs:
    """Inputs of a request and their origin.

    `panel`: float32 `[symbols, rows, features]`, with at least the rows of the longest lookback.
    `complete`: every value of `panel` is finite.
    `read_seconds`: seconds from the request's arrival until the inputs were read.
    `feature_set`: hash of the feature set; None if the client sent the panel itself.
    `universe`: universe hash, as in `features.store.windows.StoredWindow`.
    `full_universe`: inputs of all symbols that were read, if those are more than requested, for versions that
    are scored on their whole universe.
    `precomputed`: scores that a batch computed already.
    `per_version`: by version, other inputs (of another feature set, universe or length), or the reason why
    there are none.
    """

    panel: Panel
    complete: bool
    read_seconds: float
    symbols: tuple[str, ...] = ()
    feature_timestamp: datetime | None = None
    feature_set: str | None = None
    snapshot: str = ""
    universe: str = ""
    full_universe: ScoringInputs | None = None
    precomputed: PrecomputedScores | None = None
    per_version: Mapping[str, ScoringInputs | str] = field(default_factory=dict)

    def complete_for(self, version: str) -> bool:
        """Return whether the version is scored on this `panel`, and no value is missing."""
        return self.complete and version not in self.per_version

    def precomputed_by(self, model: str, version: str, rotate: int) -> PrecomputedScores | None:
        """Return the version's precomputed scores; None for rotated features."""
        ahead = self.precomputed
        same = ahead is not None and (ahead.model, ahead.version) == (model, version)
        return ahead if same and not rotate else None


@dataclass(frozen=True, slots=True)
class VersionScores:
    """One version's scores of one request.

    `panel`: panel as the model saw it; `input_hash` is its hash.
    `latency_ms`: time that the request would have taken by this version alone, reading plus scoring.
    `statuses`: one a symbol, `missing` where there is no score.
    `error`: reason of a failure; then all scores are NaN.
    `stale`: the scores are those of an earlier request.
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
