"""The journal's database: streams of records, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock
from alphaloop.errors import ChainBrokenError, DamagedStoreError, UnreachableStoreError
from alphaloop.journal.anchors import AnchorFile, AnchorLog
from alphaloop.journal.append import Doubts, append_records
from alphaloop.journal.chain import GENESIS_HASH
from alphaloop.journal.positions.bar_progress import BarProgress
from alphaloop.journal.positions.source_heads import SourceHeads
from alphaloop.journal.record import ADOPTION_KIND, Record, canonical_json
from alphaloop.journal.roles import LEASE_SECONDS, RoleLease, held_elsewhere, take_role
from alphaloop.journal.rollout_documents import RolloutDocuments, replace_document
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.journal.tables import (
    DATABASE_ERRORS,
    database_url,
    is_missing_journal,
    is_open_failure,
    migrate,
    open_engine,
    records,
)
from alphaloop.journal.writer import StreamWriter, checked_record
from alphaloop.rollout_document import RolloutDocument

PAGE_SIZE = 500
"""Number of records read from the database at a time."""


class Journal:
    """Append-only, hash-chained streams of records in SQLite (WAL mode) or PostgreSQL.

    The database is created, or migrated to the newest revision, when the journal is opened.

    Parameters
    ----------
    path_or_url : str, Path or URL
        SQLite file, or SQLAlchemy URL.
    anchors : Path or AnchorLog
        Chain heads outside of the database: a file, or `AnchorObjects` in a bucket.
    clock : Clock
        Source of the records' time.
    lease_seconds : float
        Seconds without a sign of life of its holder after which a role may be taken over.

    Raises
    ------
    DamagedStoreError
        Where the file is not a journal, or is missing although anchors say that it held records.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from alphaloop.clock import ReplayClock
    >>> folder = Path(mkdtemp())
    >>> clock = ReplayClock(datetime(2020, 3, 16, tzinfo=UTC))
    >>> journal = Journal(folder / "journal.db", folder / "anchors.jsonl", clock)
    >>> with journal.writer("notes") as writer:
    ...     writer.append("note", {"text": "hello"}).seq
    1
    >>> [record.body for record in journal.records("notes")]
    [{'text': 'hello'}]
    >>> journal.close()
    """

    def __init__(
        self,
        path_or_url: str | Path | sa.URL,
        anchors: Path | AnchorLog,
        clock: Clock,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        url = database_url(path_or_url)
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(anchors, Path):
            anchors.parent.mkdir(parents=True, exist_ok=True)
        self._name = url.render_as_string(hide_password=True)
        self._anchors = AnchorFile(anchors) if isinstance(anchors, Path) else anchors
        self._clock, self._lease_seconds = clock, lease_seconds
        self._doubts: Doubts = {}
        self._engine = open_engine(url)
        try:
            if is_missing_journal(self._engine):
                self._require_new()
            migrate(self._engine)
        except DATABASE_ERRORS as error:
            self._engine.dispose()
            raise self._damaged(error) from error
        except DamagedStoreError:
            self._engine.dispose()
            raise

    def writer(self, stream: str, role: RoleLease | None = None) -> StreamWriter:
        """Take the lease of `stream`, even from another writer, and return its only writer.

        With `role` the stream belongs to that role from now on. Raises `RoleHeldError` without one for a
        stream of a role that another process holds, `LeaseLostError` for a role that was taken over.
        """
        try:
            return StreamWriter(self._engine, self._anchors, stream, self._clock, role=role)
        except DATABASE_ERRORS as error:
            raise self._damaged(error) from error

    def take_role(self, role: str, *, wait: float | None = 0.0, holder: str | None = None) -> RoleLease:
        """Take a role that one process holds at a time, or wait for it.

        Parameters
        ----------
        role : str
            Name of the role: `executor/BOOK`, `control/MODEL`, `streamer/SOURCE` or `runner`.
        wait : float or None
            Seconds to wait for a role that another process holds; None waits for ever.
        holder : str, optional
            Holder, by default this process.

        Returns
        -------
        RoleLease
            The role, given back by its `release` or at the end of its context.

        Raises
        ------
        RoleHeldError
            Where another process held the role to the end of `wait`.
        """
        try:
            return take_role(
                self._engine, self._clock, role, holder=holder, wait=wait, lease_seconds=self._lease_seconds
            )
        except DATABASE_ERRORS as error:
            raise self._damaged(error) from error

    @property
    def progress(self) -> BarProgress:
        """The last bar that each part is done with."""
        return BarProgress(self._engine)

    @property
    def heads(self) -> SourceHeads:
        """The newest bar of each source that is stored and online."""
        return SourceHeads(self._engine)

    def holder_of(self, role: str) -> str | None:
        """Return `host:pid` of another process that holds `role`; None if it is free, or ours."""
        try:
            with self._engine.connect() as connection:
                return held_elsewhere(connection, role)
        except DATABASE_ERRORS as error:
            raise self._damaged(error) from error

    def append(
        self,
        stream: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        unique: str | None = None,
        role: RoleLease | None = None,
    ) -> Record:
        """Append one record to a stream that belongs to no role; see `append_many`."""
        return self.append_many(stream, [(kind, body)], unique=unique, role=role)[0]

    def append_many(
        self,
        stream: str,
        batch: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        unique: str | None = None,
        role: RoleLease | None = None,
    ) -> list[Record]:
        """Append all of `batch` or nothing, holding the head of the stream for one transaction.

        Parameters
        ----------
        stream : str
            Stream that belongs to no role.
        batch : sequence of tuple of str and mapping
            Kind and body of each record.
        unique : str, optional
            Field of the bodies. Where a record of the same kind and value is there already, that record takes
            the place of a new one.
        role : RoleLease, optional
            Role under which the records are written; its token is checked in the same transaction.

        Returns
        -------
        list of Record
            The records, in the order of `batch`.

        Raises
        ------
        InputError
            For a stream that belongs to a role.
        LeaseLostError
            For a `role` that another process took over.
        ChainBrokenError
            Where the stream does not end as its anchors say.
        VendorError
            Where the database fails or the anchor cannot be written.
        """
        return append_records(
            self._engine,
            self._anchors,
            self._clock,
            stream,
            batch,
            unique=unique,
            role=role,
            doubts=self._doubts,
        )

    @property
    def documents(self) -> RolloutDocuments:
        """Rollout documents of all models."""
        return RolloutDocuments(self._engine)

    def publish_document(
        self,
        document: RolloutDocument,
        expected_generation: int | None,
        steps: Sequence[tuple[str, Mapping[str, Any]]],
        role: RoleLease,
    ) -> Record:
        """Replace a rollout document, in one transaction with the records that say why.

        Parameters
        ----------
        document : RolloutDocument
            Document to store.
        expected_generation : int or None
            Generation of the stored document; None if there is none.
        steps : sequence of tuple of str and mapping
            Kind and body of each record on the stream of control.
        role : RoleLease
            The role `control/MODEL`.

        Returns
        -------
        Record
            The first record.

        Raises
        ------
        RolloutConflictError
            Where another generation is stored, or that of `document` does not follow it.
        LeaseLostError
            Where another process took the role over.
        VendorError
            Where the database fails or the anchor cannot be written.
        """
        return append_records(
            self._engine,
            self._anchors,
            self._clock,
            CONTROL_STREAM,
            steps,
            unique=None,
            role=role,
            doubts=self._doubts,
            within=lambda connection: replace_document(connection, document, expected_generation),
        )[0]

    def adopt(self, stream: str, by: str, reason: str) -> Record:
        """Vouch for unanchored records of `stream` by a record with a person's name and reason.

        Takes the lease. Raises `ChainBrokenError` where links or anchors are broken: that cannot be adopted.
        """
        try:
            with StreamWriter(self._engine, self._anchors, stream, self._clock, adopt=True) as writer:
                return writer.append(ADOPTION_KIND, {"by": by, "reason": reason, "up_to": writer.seq})
        except DATABASE_ERRORS as error:
            raise self._damaged(error) from error

    def records(self, stream: str, kind: str | None = None, after: int = 0) -> Iterator[Record]:
        """Read the records of a stream in order, page by page.

        Parameters
        ----------
        stream : str
            The stream.
        kind : str, optional
            Read this kind only.
        after : int
            Read records with a larger `seq` only.

        Yields
        ------
        Record
            One record after the other.

        Raises
        ------
        ChainBrokenError
            For a record that was changed and, where all kinds are read, for a record that does not follow
            from the one before it.
        DamagedStoreError
            Where the database cannot be read.
        """
        query = sa.select(records).where(records.c.stream == stream).order_by(records.c.seq).limit(PAGE_SIZE)
        if kind is not None:
            query = query.where(records.c.kind == kind)
        before: Record | None = None
        while True:
            page = self._read(query.where(records.c.seq > after))
            for record in map(checked_record, page):
                if kind is None:
                    _require_link(record, before, after)
                before = record
                yield record
            if len(page) < PAGE_SIZE:
                return
            after = int(page[-1]["seq"])

    def records_of(self, streams: Sequence[str], kind: str) -> Iterator[Record]:
        """Read the records of `kind` of several streams, one stream after the other; errors as `records`."""
        for stream in streams:
            yield from self.records(stream, kind)

    def find(self, stream: str, kind: str, **fields: Any) -> Record | None:
        """Return the first record of `kind` whose body has all of `fields`, or None.

        Values are compared as stored, so that a Decimal or a datetime matches its own text.
        """
        query = sa.select(records).where(records.c.stream == stream, records.c.kind == kind)
        wanted = {name: canonical_json({name: value})[1:-1] for name, value in fields.items()}
        for part in wanted.values():
            # Bodies are canonical, so the field's text is known; the loop below checks each match exactly.
            query = query.where(records.c.body.contains(part, autoescape=True))
        for row in self._read(query.order_by(records.c.seq)):
            record = checked_record(row)
            if all(
                name in record.body and canonical_json({name: record.body[name]})[1:-1] == part
                for name, part in wanted.items()
            ):
                return record
        return None

    def last(self, stream: str, kind: str) -> Record | None:
        """Return the last record of `kind`, or None."""
        query = sa.select(records).where(records.c.stream == stream, records.c.kind == kind)
        rows = self._read(query.order_by(records.c.seq.desc()).limit(1))
        return checked_record(rows[0]) if rows else None

    def streams(self) -> list[str]:
        """List the streams that have a record."""
        query = sa.select(records.c.stream).distinct().order_by(records.c.stream)
        return [row["stream"] for row in self._read(query)]

    @property
    def unanchored_seconds(self) -> float:
        """Seconds since the oldest record whose anchor could not be written yet; 0 where all are anchored."""
        return self._anchors.unanchored_seconds

    def close(self) -> None:
        """Anchor what waits, and close every connection; the journal's writers can no longer write."""
        self._anchors.close()
        self._engine.dispose()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_new(self) -> None:
        """Raise `DamagedStoreError` where anchors say that the missing journal held records."""
        held = {one.stream for one in self._anchors.read() if one.seq > 0 and not one.announced}
        # Checked again, because another process may have created the journal meanwhile and anchored records.
        if held and is_missing_journal(self._engine):
            raise DamagedStoreError(
                f"the journal {self._name} is gone or empty, but {self._anchors.location} says that it held "
                f"records of {', '.join(sorted(held))}; put it back, or move the anchors away to start anew"
            )

    def _read(self, query: Any) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(query).mappings())
        except DATABASE_ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DamagedStoreError:
        if is_open_failure(error):
            return UnreachableStoreError(
                f"the journal {self._name} cannot be opened: {error.__cause__ or error}; look whether it and "
                "its folder may be read and written, and whether another process holds it"
            )
        return DamagedStoreError(
            f"the journal {self._name} cannot be read: {error.__cause__ or error}; "
            "`alphaloop audit verify` says where, or move it away to start anew"
        )


def _require_link(record: Record, before: Record | None, after: int) -> None:
    seq = before.seq if before else after
    previous = before.hash if before else (record.previous if after else GENESIS_HASH)
    if record.seq != seq + 1 or record.previous != previous:
        raise ChainBrokenError(
            f"record {record.seq} of stream '{record.stream}' does not follow record {seq}; run `alphaloop "
            "audit verify`"
        )
