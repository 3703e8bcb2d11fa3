"""Closed bar: the rows of the prediction log that count as evidence at one bar, with their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from alphaloop.journal.record import canonical_json
from serving.log.prediction_row import PredictionRow

RECOMPUTED_PREFIX = "recomputed/"
"""Beginning of the prediction id of a row that control scored itself."""


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """Rows that count at one bar; what arrives later changes nothing.

    Parameters
    ----------
    as_of : datetime
        Close of the bar, in UTC.
    rows : tuple of PredictionRow
        Rows of the judged versions, each prediction once, in the order of their ids.
    """

    as_of: datetime
    rows: tuple[PredictionRow, ...]

    @classmethod
    def of(cls, as_of: datetime, rows: Iterable[PredictionRow], versions: Sequence[str]) -> ClosedBar:
        """Select the rows of `versions` that belong to the bar; a row that was logged twice counts once."""
        kept = {
            row.prediction_id: row
            for row in rows
            if row.as_of == as_of and row.symbols and row.version in versions
        }
        return cls(as_of, tuple(kept[name] for name in sorted(kept)))

    @property
    def recomputed(self) -> tuple[str, ...]:
        """Versions whose rows were lost and scored again."""
        return tuple(row.version for row in self.rows if is_recomputed(row))

    @property
    def logged(self) -> tuple[str, ...]:
        """Ids of the rows that came from the log."""
        return tuple(row.prediction_id for row in self.rows if not is_recomputed(row))

    @property
    def digest(self) -> str:
        """SHA-256 of the rows: who answered what on which inputs.

        Of a row that was scored again only its version counts, because its scores follow from snapshot and
        file, which may be computed on another processor.
        """
        return hashlib.sha256(
            canonical_json({"rows": [_content(row) for row in self.rows]}).encode()
        ).hexdigest()


def is_recomputed(row: PredictionRow) -> bool:
    """Tell whether control scored the row itself, because the log had lost it."""
    return row.prediction_id.startswith(RECOMPUTED_PREFIX)


def _content(row: PredictionRow) -> list[Any]:
    if is_recomputed(row):
        return [row.prediction_id, row.version]
    scores = np.asarray(row.scores, dtype="<f8").tobytes().hex()
    return [
        row.prediction_id,
        row.version,
        row.route,
        list(row.route_keys),
        list(row.symbols),
        scores,
        row.input_hash,
        row.feature_set,
        row.generation,
        repr(row.latency_ms),
        row.error,
    ]
