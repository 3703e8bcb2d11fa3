"""Normal form: the records of a stream without what differs between two runs of the same decisions.

Two journals whose streams have one normal form decided the same from the same, however many processes wrote
them and whenever. It is for comparing; only the journal itself is evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from types import MappingProxyType
from typing import Any

from alphaloop.journal.record import ADOPTION_KIND, Record

DROPPED_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "seq": "counts the records that are left out, too",
        "at": "time of writing",
        "epoch": "counts how often a writer took the stream, or a process its role",
        "previous": "follows from the columns that are dropped",
        "hash": "follows from the columns that are dropped",
    }
)
"""Columns of a record that are left out, and why; `kind` and `body` remain."""

DROPPED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "prediction_id": "drawn at random by the server of predictions",
        "prediction_ids": "drawn at random by the server of predictions, by sleeve",
        "run": "drawn at random for a run of a pipeline that a person starts",
        "holder": "process of a role",
        "token": "counts how often a role was taken",
        "lease_epoch": "counts how often a stream was taken",
        "latency_ms": "measured, not decided",
        "written_at": "time of writing",
        "generated_at": "time of an answer",
    }
)
"""Fields of bodies that are left out at every depth, and why."""

DROPPED_FIELDS_BY_KIND: Mapping[str, frozenset[str]] = MappingProxyType(
    # Ids of predictions, drawn at random, and the digest over rows that hold them.
    {"evidence.closed": frozenset({"rows", "digest"})}
)
"""Fields that are left out of bodies of one kind alone."""

DROPPED_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ADOPTION_KIND: "a person vouched for records after they were written",
        "session": "a process took the book over and began",
    }
)
"""Kinds that are left out as a whole, and why."""


def normal_form(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield kind and body of each record that a decision or its result is, in order.

    Parameters
    ----------
    records : iterable of Record
        Records of one stream, in order.

    Yields
    ------
    dict
        `kind` and `body`, without what `DROPPED_KINDS`, `DROPPED_FIELDS` and `DROPPED_FIELDS_BY_KIND` name.
    """
    for record in records:
        if record.kind not in DROPPED_KINDS:
            dropped = DROPPED_FIELDS.keys() | DROPPED_FIELDS_BY_KIND.get(record.kind, frozenset())
            yield {"kind": record.kind, "body": _kept(record.body, dropped)}


def _kept(value: Any, dropped: Set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _kept(one, dropped) for name, one in value.items() if name not in dropped}
    if isinstance(value, list):
        return [_kept(one, dropped) for one in value]
    return value
