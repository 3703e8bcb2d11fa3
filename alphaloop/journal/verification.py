"""Verification: checks that a journal still holds exactly what was written.

Every stored field of every record is hashed again, every link followed, and every anchor compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alphaloop.errors import DamagedStoreError, VendorError
from alphaloop.journal.anchors import Anchor, AnchorFile, AnchorLog, StreamAnchors
from alphaloop.journal.chain import GENESIS_HASH, broken_link
from alphaloop.journal.read_only import CannotOpenError, read_journal_records
from alphaloop.journal.record import ADOPTION_KIND
from alphaloop.journal.tables import database_url
from alphaloop.journal.writer import unanchored_message

EVERY_STREAM = "*"


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The result of verifying one stream.

    Parameters
    ----------
    stream : str
        The stream; `*` where the database or the anchors as a whole cannot be read.
    records : int
        Number of records.
    ok : bool
        True if nothing is wrong.
    problem : str, optional
        The first problem, in one line.
    first_bad : int, optional
        Number of the first record that is wrong.
    opened : bool
        False where database or anchors could not be opened, which says nothing about their content.
    unanchored : int
        Records without an anchor, if nothing else is wrong; a person can adopt those.
    adopted : tuple of str
        Earlier adoptions, one line each.
    """

    stream: str
    records: int
    ok: bool
    problem: str | None = None
    first_bad: int | None = None
    opened: bool = True
    unanchored: int = 0
    adopted: tuple[str, ...] = ()


def verify_journal(journal_path: str | Path | sa.URL, anchors: Path | AnchorLog) -> list[ChainReport]:
    """Check every stream of the journal against its chain and its anchors.

    The result is empty where there is neither a journal nor an anchor. Damage never raises an error: a
    database or anchor file that cannot be read is reported as a problem.
    """
    url = database_url(journal_path)
    log = AnchorFile(anchors) if isinstance(anchors, Path) else anchors
    is_file = url.get_backend_name() == "sqlite"
    try:
        earlier_anchors = log.read()
        if is_file and not Path(str(url.database)).exists():
            problem = f"{url.database} is gone, but {log.location} says that it held records"
            return [ChainReport(EVERY_STREAM, 0, False, problem)] if earlier_anchors else []
        rows = read_journal_records(url)
        # Read again after the records, because a writer announces a batch before its commit.
        later_anchors = log.read()
    except OSError as error:
        return [_unopened(f"the anchors {log.location}", error.strerror or str(error))]
    except CannotOpenError as error:
        return [_unopened(f"the database {url.render_as_string()}", str(error))]
    except VendorError as error:
        return [_unopened(f"the anchors {log.location}", str(error))]
    except DamagedStoreError as error:
        return [ChainReport(EVERY_STREAM, 0, False, str(error))]
    return check_records(rows, earlier_anchors, later_anchors, log)


def check_records(
    rows: Sequence[Mapping[str, Any]],
    earlier_anchors: Sequence[Anchor],
    later_anchors: Sequence[Anchor],
    log: AnchorLog,
) -> list[ChainReport]:
    """Check rows, ordered by stream and number, against the anchors of before and after they were read."""
    by_stream = {name: list(group) for name, group in groupby(rows, key=lambda row: str(row["stream"]))}
    for anchor in earlier_anchors:
        by_stream.setdefault(anchor.stream, [])
    return [
        _check(
            stream,
            by_stream[stream],
            log.select(stream, earlier_anchors),
            log.select(stream, later_anchors),
        )
        for stream in sorted(by_stream)
    ]


def _unopened(what: str, reason: str) -> ChainReport:
    return ChainReport(EVERY_STREAM, 0, False, f"{what} cannot be opened: {reason}", opened=False)


def _check(
    stream: str,
    rows: Sequence[Mapping[str, Any]],
    earlier_anchors: StreamAnchors,
    later_anchors: StreamAnchors,
) -> ChainReport:
    problem, first_bad = broken_link(rows)
    anchor_problem, first_bad_anchor = _broken_anchor(rows, earlier_anchors.required)
    # A break in the chain is reported before an anchor at or after it, because it shows what was changed.
    if problem is None or (
        first_bad is not None and first_bad_anchor is not None and first_bad_anchor < first_bad
    ):
        problem, first_bad = anchor_problem, first_bad_anchor
    unanchored_count = 0
    anchored = later_anchors.last.seq if later_anchors.last else 0
    if problem is None and not later_anchors.permits(rows[anchored:]):
        unanchored_count, first_bad = len(rows) - anchored, anchored + 1
        problem = unanchored_message(stream, len(rows), later_anchors)
    return ChainReport(
        stream,
        len(rows),
        problem is None,
        problem,
        first_bad,
        unanchored=unanchored_count,
        adopted=_adoptions(rows),
    )


def _adoptions(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Describe each adoption of unanchored records in one line."""
    return tuple(
        f"records up to {body.get('up_to')} adopted by {body.get('by')}: {body.get('reason')}"
        for body in (_body(row) for row in rows if row["kind"] == ADOPTION_KIND)
    )


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        body = json.loads(row["body"])
    except (ValueError, TypeError):
        return {}
    return body if isinstance(body, dict) else {}


def _broken_anchor(
    rows: Sequence[Mapping[str, Any]], anchors: Sequence[Anchor]
) -> tuple[str | None, int | None]:
    """Find the lowest anchor that contradicts the records, and its record's number."""
    hashes = {row["seq"]: row["hash"] for row in rows} | {0: GENESIS_HASH}
    for anchor in anchors:
        if anchor.seq not in hashes:
            cut = len(rows) + 1
            return f"the tail is cut: record {anchor.seq} was anchored and {len(rows)} are left", cut
        if hashes[anchor.seq] != anchor.hash:
            return f"the chain was rewritten: record {anchor.seq} is not the one anchored", anchor.seq
    return None, None
