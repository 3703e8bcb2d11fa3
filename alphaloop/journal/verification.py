"""Verification: whether a journal still says what was written.

Every stored field of every record is hashed again, every link followed, and every anchor compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alphaloop.errors import DamagedStoreError
from alphaloop.journal.anchors import Anchor, AnchorFile
from alphaloop.journal.record import GENESIS, chain_hash
from alphaloop.journal.tables import DATABASE_ERRORS, database_url, open_engine, records

EVERY_STREAM = "*"
_TEXTS = ("stream", "at", "kind", "body", "previous", "hash")
_NUMBERS = ("seq", "epoch")


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verification found of one stream: `problem` in one line, `first_bad` the record's number.

    `stream` is `*` where the database or the anchors as a whole cannot be read.
    """

    stream: str
    records: int
    ok: bool
    problem: str | None = None
    first_bad: int | None = None


def verify(journal_path: str | Path, anchors: Path) -> list[ChainReport]:
    """Check every stream of the journal against its chain and its anchors; empty where there is neither.

    Never raises for damage: a database or anchor file that cannot be read is reported as a problem.
    """
    url = database_url(journal_path)
    is_file = url.get_backend_name() == "sqlite"
    try:
        anchored = AnchorFile(anchors).read()
    except (DamagedStoreError, OSError) as error:
        return [ChainReport(EVERY_STREAM, 0, False, str(error))]
    if is_file and not Path(str(url.database)).exists():
        problem = f"{url.database} is gone, but {anchors} says that it held records"
        return [ChainReport(EVERY_STREAM, 0, False, problem)] if anchored else []
    try:
        rows = _read(url, is_file)
    except (*DATABASE_ERRORS, DamagedStoreError) as error:
        cause = error.__cause__ or error
        return [ChainReport(EVERY_STREAM, 0, False, f"the database is damaged: {cause}")]
    by_stream = {name: list(group) for name, group in groupby(rows, key=lambda row: str(row["stream"]))}
    for anchor in anchored:
        by_stream.setdefault(anchor.stream, [])
    return [
        _check(stream, by_stream[stream], [anchor for anchor in anchored if anchor.stream == stream])
        for stream in sorted(by_stream)
    ]


def _read(url: sa.URL, is_file: bool) -> list[Any]:
    engine = open_engine(url, read_only=True)
    try:
        with engine.connect() as connection:
            if is_file:
                found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
                if found != "ok":
                    raise DamagedStoreError(str(found))
            return list(connection.execute(sa.select(records).order_by("stream", "seq")).mappings())
    finally:
        engine.dispose()


def _check(stream: str, rows: Sequence[Mapping[str, Any]], anchors: Sequence[Anchor]) -> ChainReport:
    problem, place = _broken_link(rows)
    anchor_problem, anchor_place = _broken_anchor(stream, rows, anchors)
    # A break in the chain is named before an anchor at or after it: it says what was done.
    if problem is None or (place is not None and anchor_place is not None and anchor_place < place):
        problem, place = anchor_problem, anchor_place
    return ChainReport(stream, len(rows), problem is None, problem, place)


def _broken_link(rows: Sequence[Mapping[str, Any]]) -> tuple[str | None, int | None]:
    """The first record that does not follow from the one before it, and its number."""
    expected, previous, epoch = 1, GENESIS, 0
    for row in rows:
        for name in (*_TEXTS, *_NUMBERS):
            if not isinstance(row[name], int if name in _NUMBERS else str):
                return f"record {expected}: '{name}' holds {row[name]!r}, which was never written", expected
        if row["seq"] != expected:
            return f"record {expected} is missing; record {row['seq']} stands in its place", expected
        if row["previous"] != previous:
            return f"record {expected} does not follow record {expected - 1}: the link differs", expected
        given = [row[name] for name in ("stream", "seq", "at", "kind", "epoch", "body", "previous")]
        if chain_hash(*given) != row["hash"]:
            return f"record {expected} was changed: its hash is not that of its fields", expected
        if row["epoch"] < epoch:
            return f"record {expected} was written under a lease that had been lost", expected
        expected, previous, epoch = expected + 1, row["hash"], row["epoch"]
    return None, None


def _broken_anchor(
    stream: str, rows: Sequence[Mapping[str, Any]], anchors: Sequence[Anchor]
) -> tuple[str | None, int | None]:
    """The lowest anchor that the records do not bear out, and its record's number."""
    if not anchors:
        return f"stream '{stream}' has records but was never anchored", 1
    hashes = {row["seq"]: row["hash"] for row in rows} | {0: GENESIS}
    for anchor in sorted(anchors, key=lambda one: one.seq):
        if anchor.seq not in hashes:
            cut = len(rows) + 1
            return f"the tail is cut: record {anchor.seq} was anchored and {len(rows)} are left", cut
        if hashes[anchor.seq] != anchor.hash:
            return f"the chain was rewritten: record {anchor.seq} is not the one anchored", anchor.seq
    return None, None
