"""Progress: how far the bars of a trading stream are decided, as its journal says.

What is to be traded next follows from here, and never from what the snapshots hold: a bar is stored
before it is decided, so a run that ended in between leaves one that nobody decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alphaloop.journal.store import Journal
from trading.redecide import rule_of

SESSION = "session"
"""The kind of the record that a run begins with, before it stores a bar: see `session_body`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The last bar `decided` (None: the book was opened and no bar decided), and where its data lie.

    `snapshots` are identities of data up to that bar, or up to the opening, the most telling first.
    """

    decided: datetime | None
    snapshots: tuple[str, ...]


def session_body(source: str, snapshot: str, known_to: datetime, first: datetime | None) -> dict[str, Any]:
    """The body of a `session` record: the data before the first bar to decide, and that bar."""
    return {
        "source": source,
        "snapshot": snapshot,
        "known_to": known_to.isoformat(),
        "first": first.isoformat() if first else None,
    }


def progress_of(journal: Journal, stream: str) -> Progress | None:
    """How far the book of `stream` is decided; None for one that was never opened.

    A journal of before sessions were recorded has decisions alone, which is enough. Raises `InputError` for
    a decision of a newer version's rule.
    """
    decision, session = journal.last(stream, "decision"), journal.last(stream, SESSION)
    if decision is None and session is None:
        return None
    if decision is not None:
        rule_of(decision.body)
    decided = datetime.fromisoformat(decision.body["as_of"]) if decision else None
    named = [*_answered_from(decision.body)] if decision else []
    if session is not None:
        named.append(session.body["snapshot"])
    return Progress(decided, tuple(dict.fromkeys(named)))


def _answered_from(body: Mapping[str, Any]) -> Iterator[str]:
    """The data that the forecasts of a decision were made from."""
    for answer in body["answers"]:
        yield answer["snapshot"]
