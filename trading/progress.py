"""Progress of a trading stream: the last bar that its journal has decided.

The next bar to trade follows from the journal and never from the snapshots: a bar is stored before it is
decided, so that a run that ended in between leaves a stored bar without a decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alphaloop.journal.store import Journal
from trading.redecide import rule_number

SESSION_KIND = "session"
"""Kind of the record that a run begins with; see `session_body`.

It is written before the run stores a bar.
"""


@dataclass(frozen=True, slots=True)
class TradingProgress:
    """The last decided bar, and the identifiers of its data.

    `decided` is None if the book was opened and no bar decided. `snapshots` identify data up to that bar, or
    up to the opening, the most informative first.
    """

    decided: datetime | None
    snapshots: tuple[str, ...]


def session_body(source: str, snapshot: str, known_to: datetime, first: datetime | None) -> dict[str, Any]:
    """Return the body of a `session` record.

    It holds the data before the first bar to decide, and that bar.
    """
    return {
        "source": source,
        "snapshot": snapshot,
        "known_to": known_to.isoformat(),
        "first": first.isoformat() if first else None,
    }


def trading_progress(journal: Journal, stream: str) -> TradingProgress | None:
    """Return the progress of `stream`; None if its book was never opened.

    A journal from before sessions were recorded has decisions only, which is enough. Raises `InputError` for
    a decision of a newer version's rule.
    """
    decision, session = journal.last(stream, "decision"), journal.last(stream, SESSION_KIND)
    if decision is None and session is None:
        return None
    if decision is not None:
        rule_number(decision.body)
    decided = datetime.fromisoformat(decision.body["as_of"]) if decision else None
    named = [*_answered_from(decision.body)] if decision else []
    if session is not None:
        named.append(session.body["snapshot"])
    return TradingProgress(decided, tuple(dict.fromkeys(named)))


def _answered_from(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the snapshots that the forecasts of a decision were made from."""
    for answer in body["answers"]:
        yield answer["snapshot"]
