"""Closing of bars for evidence: each bar of a rollout is closed once, and stays as it was closed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from alphaloop.rollout_document import RolloutDocument
from rollouts.evidence.closing.closed_bar import ClosedBar
from rollouts.evidence.closing.closing_records import ClosingRecords
from rollouts.evidence.closing.lost_rows import LostRows
from rollouts.evidence.frame_cache import FrameCache
from serving.log.prediction_row import PredictionRow

log = logging.getLogger(__name__)


class BarClosing:
    """Closing of the bars of one model's rollouts.

    A bar is closed with the rows that the log has of it when its evidence is judged. A version that left no
    row is scored again, and the closing names it. The closing is journalled, so a control that is started
    anew counts the same rows, whatever has arrived or got lost since.

    Parameters
    ----------
    records : ClosingRecords
        The journalled closings.
    lost : LostRows
        Scores the versions that left no row.
    """

    def __init__(self, records: ClosingRecords, lost: LostRows) -> None:
        self._records, self._lost = records, lost
        self._rollout = ""
        self._known: dict[datetime, dict[str, Any]] = {}

    def moments(self, document: RolloutDocument) -> set[datetime]:
        """Return the closes of the bars that the rollout of `document` has closed."""
        return set(self._closings(document))

    def close(
        self,
        document: RolloutDocument,
        as_of: datetime,
        rows: Iterable[PredictionRow],
        frames: FrameCache,
        *,
        write: bool = True,
    ) -> ClosedBar:
        """Close the bar at `as_of`, or return it as it was closed.

        Parameters
        ----------
        document : RolloutDocument
            The rollout under way.
        as_of : datetime
            Close of the bar.
        rows : iterable of PredictionRow
            Rows that the log has of the bar; others are left out.
        frames : FrameCache
            Features of the bars up to this one, for versions without a row.
        write : bool
            Whether a bar that is still open is closed and journalled; else its rows are returned as they
            are.

        Returns
        -------
        ClosedBar
        """
        found, closings = ClosedBar.of(as_of, rows, _versions(document)), self._closings(document)
        if as_of in closings:
            return self._as_closed(document, found, closings[as_of], frames)
        if not write:
            return found
        whole = self._completed(document, found, frames)
        closings[as_of] = self._records.write(document, whole)
        if closings[as_of]["digest"] == whole.digest:
            return whole
        return self._as_closed(document, found, closings[as_of], frames)

    def _as_closed(
        self, document: RolloutDocument, found: ClosedBar, closing: dict[str, Any], frames: FrameCache
    ) -> ClosedBar:
        """Return the rows of `found` that the closing names; what is lost since is scored again."""
        counted = set(closing["rows"])
        kept = ClosedBar(found.as_of, tuple(row for row in found.rows if row.prediction_id in counted))
        whole = self._completed(document, kept, frames)
        if whole.digest != closing["digest"]:
            gone = len(counted) - len(kept.rows)
            log.warning(
                "the evidence of '%s' at %s was closed as %s and is %s now: %d of its rows are gone from the "
                "prediction log, and its versions were scored again; put the log back from a copy",
                *(document.model, found.as_of.isoformat(), closing["digest"][:12], whole.digest[:12], gone),
            )
        return whole

    def _completed(self, document: RolloutDocument, found: ClosedBar, frames: FrameCache) -> ClosedBar:
        there = {row.version for row in found.rows}
        missing = [version for version in _versions(document) if version not in there]
        scored = self._lost.score(document, missing, found.as_of, frames)
        return ClosedBar.of(found.as_of, [*found.rows, *scored], _versions(document))

    def _closings(self, document: RolloutDocument) -> dict[datetime, dict[str, Any]]:
        """Return the closings of the rollout; they are read once a rollout, and are as many as its bars."""
        rollout = f"{document.challenger} {document.started}"
        if rollout != self._rollout:
            self._known, self._rollout = self._records.read(document), rollout
        return self._known


def _versions(document: RolloutDocument) -> list[str]:
    return [version for version in (document.champion, document.challenger) if version is not None]
