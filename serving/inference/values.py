"""Values of a scored request: its inputs, precomputed scores, and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.forecasts import SymbolStatus
from serving.protocol.messages import Panel, Scores


@dataclass(frozen=True, slots=True)
class Ahead:
    """Scores that `version` of `model` gave in one run with other requests; the run took `seconds`.

    `symbols` is how many it scored, told with one request of the run and 0 with the others.
    """

    model: str
    version: str
    scores: Scores
    seconds: float
    symbols: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request is scored on, and where it comes from.

    `panel` is float32 `[symbols, rows, features]`, with at least the rows that the longest lookback needs,
    and `complete` where each of its values is finite; `feature_set` is None where the client sent the panel
    itself, `universe` that of `features.store.windows.StoredWindow`. `waited` is how many seconds after the
    request's arrival all this was there. `read` is set where more symbols were read than were asked for, for
    versions that are scored on their whole universe, and `ahead` where one has scored them in a batch.
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

    def complete_for(self, version: str) -> bool:
        """Whether the version is scored on this `panel`, and none of its values is missing."""
        return self.complete and version not in self.apart

    def ahead_by(self, model: str, version: str, rotate: int) -> Ahead | None:
        """The scores that the version has given already; of rotated features there are none."""
        ahead = self.ahead
        same = ahead is not None and (ahead.model, ahead.version) == (model, version)
        return ahead if same and not rotate else None


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
