"""The one writer of a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock, as_utc
from alphaloop.errors import ChainBrokenError, LeaseLostError, VendorError
from alphaloop.journal import lease
from alphaloop.journal.anchors import Anchor, AnchorFile
from alphaloop.journal.record import GENESIS, Record, canonical, chain_hash
from alphaloop.journal.tables import DATABASE_ERRORS, records


class StreamWriter:
    """Appends to one stream under a fenced lease. Made by `Journal.writer`.

    Opening checks the chain from the last anchor on, and anchors what a crash left unanchored; raises
    `ChainBrokenError` where the stream no longer holds what was anchored.
    """

    def __init__(self, engine: sa.Engine, anchors: AnchorFile, stream: str, clock: Clock) -> None:
        self.stream = stream
        self._engine, self._anchors, self._clock = engine, anchors, clock
        self._lock = threading.Lock()
        self._closed = False
        anchor = anchors.last(stream)
        with engine.begin() as connection:
            self.epoch = lease.take(connection, stream, self._now())
            self._seq, self._head = _checked_head(connection, stream, anchor)
        if anchor is None or anchor.seq < self._seq:
            anchors.append(Anchor(stream, self._seq, self._head))

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Append one record; see `append_many`."""
        return self.append_many([(kind, body)])[0]

    def append_many(self, batch: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Record]:
        """Append all of `batch` or nothing, in one transaction, and then anchor the new head.

        Raises `LeaseLostError` if another writer took over, `VendorError` if the database fails.
        """
        if not batch:
            return []
        with self._lock:
            if self._closed:
                raise LeaseLostError(f"stream '{self.stream}': this writer was closed; take a new one")
            rows = self._chain(batch)
            self._commit(rows)
            self._seq, self._head = rows[-1]["seq"], rows[-1]["hash"]
            self._anchors.append(Anchor(self.stream, self._seq, self._head))
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
            text = canonical(body)
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
                lease.renew(connection, self.stream, self.epoch, rows[0]["at"])
                connection.execute(records.insert(), rows)
        except DATABASE_ERRORS as error:
            raise VendorError(f"the journal could not take {len(rows)} records: {error}") from error

    def _now(self) -> str:
        return as_utc(self._clock.now()).isoformat()


def to_record(row: Mapping[str, Any]) -> Record:
    """A stored row as a record; raises `ChainBrokenError` for one that cannot be read."""
    from datetime import datetime

    try:
        body = json.loads(row["body"])
        at = datetime.fromisoformat(row["at"])
    except (ValueError, TypeError) as error:
        raise ChainBrokenError(
            f"record {row['seq']} of stream '{row['stream']}' cannot be read; run `alphaloop audit verify`"
        ) from error
    return Record(
        stream=row["stream"],
        seq=row["seq"],
        at=at,
        kind=row["kind"],
        body=body,
        previous=row["previous"],
        hash=row["hash"],
        epoch=row["epoch"],
    )


def _checked_head(connection: sa.Connection, stream: str, anchor: Anchor | None) -> tuple[int, str]:
    """Number and hash of the last record, once the chain from the last anchor has been followed."""
    seq, head = (anchor.seq, anchor.hash) if anchor else (0, GENESIS)
    query = sa.select(records).where(records.c.stream == stream, records.c.seq >= seq).order_by(records.c.seq)
    rows = connection.execute(query).mappings().all()
    if seq > 0 and (not rows or rows[0]["seq"] != seq or rows[0]["hash"] != head):
        raise ChainBrokenError(
            f"stream '{stream}': record {seq} is not the one that was anchored; run `alphaloop audit verify`"
        )
    for row in rows[1:] if seq > 0 else rows:
        given = [row[name] for name in ("stream", "seq", "at", "kind", "epoch", "body", "previous")]
        if row["seq"] != seq + 1 or row["previous"] != head or chain_hash(*given) != row["hash"]:
            raise ChainBrokenError(
                f"stream '{stream}': record {row['seq']} breaks the chain; run `alphaloop audit verify`"
            )
        seq, head = row["seq"], row["hash"]
    return seq, head
