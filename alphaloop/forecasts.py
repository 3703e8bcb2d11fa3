"""Forecasts: one response of the prediction server, with everything that lineage needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from blake3 import blake3


class Route(StrEnum):
    """The role of the model that answered a request."""

    CHAMPION = "champion"
    CANARY = "canary"
    SHADOW = "shadow"
    FALLBACK = "fallback"


class SymbolStatus(StrEnum):
    """The state of one symbol's score; `stale` marks a score of an earlier request."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Scores of the symbols of one request at one bar.

    Parameters
    ----------
    prediction_id : str
        Identifier of the prediction.
    as_of, feature_timestamp : datetime
        Bar that was asked for, and bar of the features; they differ where a status is `stale`.
    symbols : tuple of str
        The symbols, in the order of `scores` and `statuses`.
    scores : tuple of float, one a symbol
        NaN where the status is `missing`. Where it is `stale`, the model version failed and these are its
        last good scores.
    statuses : tuple of SymbolStatus, one a symbol
        Whether each symbol was scored.
    model, version, digest : str
        Name and version of the model, and SHA-256 of its ONNX file.
    route : Route
        Role of the version in the rollout.
    input_hash : str
        Hash of the model's inputs (`hash_inputs`).
    feature_set, snapshot : str
        Hash of the feature set, and identifier of the data that the features were computed from.
    generation : int
        Generation of the rollout document that routed the request.
    """

    prediction_id: str
    as_of: datetime
    feature_timestamp: datetime
    symbols: tuple[str, ...]
    scores: tuple[float, ...]
    statuses: tuple[SymbolStatus, ...]
    model: str
    version: str
    digest: str
    route: Route
    input_hash: str
    feature_set: str
    snapshot: str
    generation: int


@dataclass(frozen=True, slots=True)
class RoutedForecasts:
    """Forecasts of one bar for several capital sleeves, from one request.

    Parameters
    ----------
    forecasts : dict of str to Forecast
        Forecast of each sleeve whose version answered. Sleeves with one answer share its prediction id.
    failures : dict of str to str
        Reason for each sleeve whose version did not answer.
    """

    forecasts: dict[str, Forecast]
    failures: dict[str, str] = field(default_factory=dict)


def hash_inputs(panel: npt.NDArray[np.float32]) -> str:
    """Hash the bytes and the shape of a float32 panel `[symbols, lookback, features]` with BLAKE3.

    BLAKE3 because every response waits for the hash, and SHA-256 takes more than twice the time. J. O'Connor
    et al., "BLAKE3", 2020. The shape comes last, because the bytes are hashed in parallel in chunks of 1,024:
    behind a dozen bytes of shape the hash would take half as long again.
    """
    contiguous = np.ascontiguousarray(panel, dtype="<f4")
    digest = blake3(contiguous.data.cast("B"))
    digest.update(repr(contiguous.shape).encode())
    return digest.hexdigest()
