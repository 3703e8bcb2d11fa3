"""The forecast: one answer of the server to one request, with everything that lineage needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from blake3 import blake3


class Route(StrEnum):
    """Which model answered, and why."""

    CHAMPION = "champion"
    CANARY = "canary"
    SHADOW = "shadow"
    FALLBACK = "fallback"


class SymbolStatus(StrEnum):
    """Whether a symbol of a request was scored; `stale` are scores of an earlier request."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Scores of the symbols of one request at one bar.

    `scores` has one float a symbol, NaN where `statuses` says `missing`; where it says `stale`, the
    version failed and these are its last good ones, `feature_timestamp` theirs. `digest` is the SHA-256 of
    the ONNX file, `input_hash` the hash of the inputs (`hash_inputs`), `snapshot` the id of the data that
    the features were computed from, `generation` that of the rollout document which routed it.
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


def hash_inputs(panel: npt.NDArray[np.float32]) -> str:
    """BLAKE3 over bytes and shape of a float32 panel `[symbols, lookback, features]`.

    Each answer waits for it, and SHA-256 takes more than twice the time. J. O'Connor et al., "BLAKE3",
    2020. The shape comes last, because bytes are hashed in pieces of 1,024 and side by side: behind a
    dozen others they would take half as long again.
    """
    contiguous = np.ascontiguousarray(panel, dtype="<f4")
    digest = blake3(contiguous.data.cast("B"))
    digest.update(repr(contiguous.shape).encode())
    return digest.hexdigest()
