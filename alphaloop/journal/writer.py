"""The only writer of a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock, as_utc
from alphaloop.errors import ChainBrokenError, LeaseLostError, RoleHeldError, VendorError
from alphaloop.journal import lease
from alphaloop.journal.anchors import Anchor, AnchorLog, StreamAnchors
from alphaloop.journal.chain import GENESIS_HASH, broken_link, chain_hash, row_hash
from alphaloop.journal.record import Record, canonical_json
from alphaloop.journal.roles import RoleLease, held_elsewhere
from alphaloop.journal.tables import DATABASE_ERRORS, database_reason, records


class StreamWriter:
    """A writer that appends to one stream under a fenced lease; made by `Journal.writer`.

    Opening checks the chain from the last anchor on. Raises `ChainBrokenError` where the stream lacks an
    anchored record, or holds records that no writer announced; with `adopt` such records are accepted, and
    the next batch vouches for them. With `role` the stream belongs to that role from now on, and each batch
    checks in its own transaction that the role is still held; without one, a stream that belongs to a role
    that another process holds raises `RoleHeldError`.
    """

    def __init__(
        self,
        engine: sa.Engine,
        anchors: AnchorLog,
        stream: str,
        clock: Clock,
        *,
        adopt: bool = False,
        role: RoleLease | None = None,
    ) -> None:
        self.stream = stream
        self._engine, self._anchors, self._clock, self._role = engine, anchors, clock, role
        self._lock = threading.Lock()
        self._closed, self._stopped = False, ""
        self._doubtful: dict[str, Any] | None = None
        with engine.begin() as connection:
            # The lease holds the stream's lock, so nobody commits to it or announces meanwhile.
            self.epoch = lease.take_lease(connection, stream, self._now(), role.role if role else "")
            if role is None:
                require_unheld(connection, stream)
            else:
                role.require(connection)
            known = anchors.newest_of(stream)
            self._seq, self._head = checked_head(connection, stream, known, adopt=adopt)
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
        cannot be written. A batch whose commit was not answered is looked up by number and hash: it counts
        where it is there, and is never written twice. Where only the last line of the anchors is missing, the
        batch is in the journal, and this writer stops: it writes no batch after one that it could not anchor.
        """
        if not batch:
            return []
        with self._lock:
            if self._closed:
                raise LeaseLostError(f"stream '{self.stream}': this writer was closed; take a new one")
            if self._stopped:
                raise VendorError(self._stopped)
            self._resolve_doubt()
            rows = chained_rows(self.stream, self._seq, self._head, self.epoch, self._now(), batch)
            self._commit(rows)
            self._committed(rows[-1])
        return [to_record(row) for row in rows]

    def close(self) -> None:
        """Give the stream up; appending afterwards is an error."""
        self._closed = True

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _committed(self, last: Mapping[str, Any]) -> None:
        self._seq, self._head = last["seq"], last["hash"]
        self._anchor(Anchor(self.stream, self._seq, self._head, token=last["epoch"]))

    def _resolve_doubt(self) -> None:
        """Find out whether the last batch, whose commit was not answered, is in the journal."""
        if self._doubtful is None:
            return
        try:
            is_there = is_stored(self._engine, self._doubtful)
        except DATABASE_ERRORS as error:
            raise VendorError(
                f"the journal does not say whether record {self._doubtful['seq']} of stream '{self.stream}' "
                f"was taken: {database_reason(error)}; nothing is written before it does"
            ) from error
        last, self._doubtful = self._doubtful, None
        if is_there:
            self._committed(last)

    def _commit(self, rows: list[dict[str, Any]]) -> None:
        try:
            with self._engine.begin() as connection:
                lease.renew_lease(connection, self.stream, self.epoch, rows[0]["at"])
                if self._role is not None:
                    self._role.require(connection)
                connection.execute(records.insert(), rows)
                # Last before the commit, so that an announced batch is missing only if the commit failed.
                self._anchors.announce(self.stream, rows[-1]["seq"], rows[-1]["hash"])
        except DATABASE_ERRORS as error:
            self._doubtful = rows[-1]
            try:
                is_there = is_stored(self._engine, rows[-1])
            except DATABASE_ERRORS:
                # Asked again before the next batch.
                is_there = False
            else:
                self._doubtful = None
            if not is_there:
                reason = database_reason(error)
                raise VendorError(f"the journal could not take {len(rows)} records: {reason}") from error
        except OSError as error:
            raise VendorError(
                f"the journal took none of {len(rows)} records: their anchor cannot be written to "
                f"{self._anchors.location} ({error.strerror or error})"
            ) from error

    def _anchor(self, anchor: Anchor) -> None:
        try:
            self._anchors.append(anchor)
        except OSError as error:
            self._stopped = (
                f"stream '{self.stream}': the anchor of record {anchor.seq} cannot be written to "
                f"{self._anchors.location} ({error.strerror or error}); this writer has stopped: make that "
                "file writable and start again"
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
    # Anchors under home know what that home wrote.
    elsewhere = (
        " (of a journal that several homes write, set journal.anchors to one bucket)" if last is None else ""
    )
    return (
        f"stream '{stream}' {finding}: the anchors are lost, or the records forged; put back the "
        f"anchors{elsewhere}, or, if you know where the records are from, `alphaloop audit adopt --by NAME "
        "--reason TEXT`"
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


def chained_rows(
    stream: str, seq: int, head: str, epoch: int, at: str, batch: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Build the rows of `batch` that follow record `seq` with the hash `head`."""
    previous, rows = head, []
    for number, (kind, body) in enumerate(batch, start=seq + 1):
        text = canonical_json(body)
        digest = chain_hash(stream, number, at, kind, epoch, text, previous)
        row = {"stream": stream, "seq": number, "at": at, "kind": kind, "epoch": epoch, "body": text}
        rows.append({**row, "previous": previous, "hash": digest})
        previous = digest
    return rows


def is_stored(engine: sa.Engine, row: Mapping[str, Any]) -> bool:
    """Test whether the journal holds this very record."""
    with engine.connect() as connection:
        return holds_row(connection, row)


def holds_row(connection: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Test within the caller's transaction whether the journal holds this very record."""
    query = sa.select(records.c.hash).where(records.c.stream == row["stream"], records.c.seq == row["seq"])
    return bool(connection.execute(query).scalar() == row["hash"])


def require_unheld(connection: sa.Connection, stream: str) -> None:
    """Raise `RoleHeldError` if `stream` belongs to a role that another process holds."""
    role = lease.owning_role(connection, stream)
    holder = held_elsewhere(connection, role) if role else None
    if holder is not None:
        raise RoleHeldError(
            f"stream '{stream}' is written by role '{role}', which {holder} holds; end that process first"
        )


def checked_head(
    connection: sa.Connection, stream: str, known: StreamAnchors, *, adopt: bool = False
) -> tuple[int, str]:
    """Check the chain from the last anchor on; returns number and hash of the last record.

    Raises `ChainBrokenError` where the stream lacks an anchored record or, without `adopt`, holds records
    that no writer announced.
    """
    seq, head, following = _linked_head(connection, stream, known.last)
    if not known.permits(following) and not adopt:
        raise ChainBrokenError(unanchored_message(stream, seq, known))
    return seq, head


def _linked_head(
    connection: sa.Connection, stream: str, anchor: Anchor | None
) -> tuple[int, str, list[dict[str, Any]]]:
    """Check the chain from the last anchor on.

    Returns number and hash of the last record, and the records after the anchor.
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
    if following:
        seq, head = following[-1]["seq"], following[-1]["hash"]
    return seq, head, following
