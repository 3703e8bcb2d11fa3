"""The only writer of a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock, as_utc
from alphaloop.errors import ChainBrokenError, LeaseLostError, VendorError
from alphaloop.journal import lease
from alphaloop.journal.anchors import Anchor, AnchorFile, StreamAnchors
from alphaloop.journal.chain import GENESIS_HASH, broken_link, chain_hash, row_hash
from alphaloop.journal.record import Record, canonical_json
from alphaloop.journal.tables import DATABASE_ERRORS, records


class StreamWriter:
    """A writer that appends to one stream under a fenced lease; made by `Journal.writer`.

    Opening checks the chain from the last anchor on. Raises `ChainBrokenError` where the stream lacks an
    anchored record, or holds records that no writer announced; with `adopt` such records are accepted, and
    the next batch vouches for them.
    """

    def __init__(
        self, engine: sa.Engine, anchors: AnchorFile, stream: str, clock: Clock, *, adopt: bool = False
    ) -> None:
        self.stream = stream
        self._engine, self._anchors, self._clock = engine, anchors, clock
        self._lock = threading.Lock()
        self._closed, self._stopped = False, ""
        with engine.begin() as connection:
            # The lease holds the database's write lock, so nobody commits or announces meanwhile.
            self.epoch = lease.take_lease(connection, stream, self._now())
            known = anchors.of(stream)
            self._seq, self._head = _checked_head(connection, stream, known.last)
            if self._seq and not known.permits(self._seq, self._head) and not adopt:
                raise ChainBrokenError(unanchored_message(stream, self._seq, known))
        if known.last is None:
            self._anchor(Anchor(stream, 0, GENESIS_HASH))

    @property
    def seq(self) -> int:
        """Number of the stream's last record."""
        return self._seq

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Append one record; see `append_many`."""
        return self.append_many([(kind, body)])[0]

    def append_many(self, batch: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Record]:
        """Append all of `batch` or nothing, in one transaction, and anchor the new head.

        Raises `LeaseLostError` if another writer took over, `VendorError` if the database fails or the anchor
        cannot be written. Where only the last line of the anchors is missing, the batch is in the journal,
        and this writer stops: it writes no batch after one that it could not anchor.
        """
        if not batch:
            return []
        with self._lock:
            if self._closed:
                raise LeaseLostError(f"stream '{self.stream}': this writer was closed; take a new one")
            if self._stopped:
                raise VendorError(self._stopped)
            rows = self._chain(batch)
            self._commit(rows)
            self._seq, self._head = rows[-1]["seq"], rows[-1]["hash"]
            self._anchor(Anchor(self.stream, self._seq, self._head))
        return [to_record(row) for row in rows]

    def close(self) -> None:
        """Give the stream up; appending afterwards is an error."""
        self._closed = True

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chain(self, batch: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        at, previous, rows = self._now(), self._head, []
        for seq, (kind, body) in enumerate(batch, start=self._seq + 1):
            text = canonical_json(body)
            digest = chain_hash(self.stream, seq, at, kind, self.epoch, text, previous)
            rows.append(
                {
                    "stream": self.stream,
                    "seq": seq,
                    "at": at,
                    "kind": kind,
                    "epoch": self.epoch,
                    "body": text,
                    "previous": previous,
                    "hash": digest,
                }
            )
            previous = digest
        return rows

    def _commit(self, rows: list[dict[str, Any]]) -> None:
        try:
            with self._engine.begin() as connection:
                lease.renew_lease(connection, self.stream, self.epoch, rows[0]["at"])
                connection.execute(records.insert(), rows)
                # Last before the commit, so that an announced batch is missing only if the commit failed.
                self._anchors.announce(self.stream, rows[-1]["seq"], rows[-1]["hash"])
        except DATABASE_ERRORS as error:
            raise VendorError(f"the journal could not take {len(rows)} records: {error}") from error
        except OSError as error:
            raise VendorError(
                f"the journal took none of {len(rows)} records: their anchor cannot be written to "
                f"{self._anchors.path} ({error.strerror or error})"
            ) from error

    def _anchor(self, anchor: Anchor) -> None:
        try:
            self._anchors.append(anchor)
        except OSError as error:
            self._stopped = (
                f"stream '{self.stream}': the anchor of record {anchor.seq} cannot be written to "
                f"{self._anchors.path} ({error.strerror or error}); this writer has stopped: make that file "
                "writable and start again"
            )
            raise VendorError(self._stopped) from error

    def _now(self) -> str:
        return as_utc(self._clock.now()).isoformat()


def unanchored_message(stream: str, seq: int, anchors: StreamAnchors) -> str:
    """Describe in one line the records up to `seq` that no writer anchored."""
    last = anchors.last
    first = last.seq + 1 if last else 1
    which = f"record {seq}" if first == seq else f"records {first} to {seq}"
    finding = (
        f"has {seq} records but was never anchored"
        if last is None
        else f"has {which}, which no writer of this journal anchored"
    )
    return (
        f"stream '{stream}' {finding}: the anchors are lost, or the records forged; put back the anchors, "
        "or, if you know where the records are from, `alphaloop audit adopt --by NAME --reason TEXT`"
    )


def checked_record(row: Mapping[str, Any]) -> Record:
    """Convert a stored row to a record; raise `ChainBrokenError` for one that was changed."""
    try:
        is_intact = row_hash(row) == row["hash"]
        record = to_record(row)
    except (ValueError, TypeError) as error:
        raise ChainBrokenError(
            f"record {row['seq']} of stream '{row['stream']}' cannot be read; run `alphaloop audit verify`"
        ) from error
    if not is_intact:
        raise ChainBrokenError(
            f"record {row['seq']} of stream '{row['stream']}' was changed: its hash is not that of its "
            "fields; run `alphaloop audit verify`"
        )
    return record


def to_record(row: Mapping[str, Any]) -> Record:
    """Convert a row to a record without checking its hash.

    Raises `ValueError` or `TypeError` for a row that cannot be read.
    """
    from datetime import datetime

    return Record(
        stream=row["stream"],
        seq=row["seq"],
        at=datetime.fromisoformat(row["at"]),
        kind=row["kind"],
        body=json.loads(row["body"]),
        previous=row["previous"],
        hash=row["hash"],
        epoch=row["epoch"],
    )


def _checked_head(connection: sa.Connection, stream: str, anchor: Anchor | None) -> tuple[int, str]:
    """Check the chain from the last anchor on.

    Returns number and hash of the last record.
    """
    seq, head = (anchor.seq, anchor.hash) if anchor else (0, GENESIS_HASH)
    query = sa.select(records).where(records.c.stream == stream, records.c.seq >= seq).order_by(records.c.seq)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    if seq > 0 and (not rows or rows[0]["seq"] != seq or rows[0]["hash"] != head):
        raise ChainBrokenError(
            f"stream '{stream}': record {seq} is not the one that was anchored; run `alphaloop audit verify`"
        )
    following = rows[1:] if seq > 0 else rows
    problem, number = broken_link(following, seq, head)
    if problem is not None:
        raise ChainBrokenError(
            f"stream '{stream}': record {number} breaks the chain ({problem}); run `alphaloop audit verify`"
        )
    return (following[-1]["seq"], following[-1]["hash"]) if following else (seq, head)
