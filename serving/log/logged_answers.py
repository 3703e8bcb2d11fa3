"""Distinct answers in the prediction log: one for each version, bar, input hash and scores.

Several rows may log one answer: a retry, a hedged copy on another server, and a log of before, where each
capital sleeve had a request of its own. Whoever judges a version by its log reads answers, not rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from serving.log.prediction_row import PredictionRow


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """One answer of a version at a bar, with all rows that logged it, in the order of the log.

    Parameters
    ----------
    as_of : datetime
        Close of the bar.
    rows : tuple of PredictionRow
        At least one row; they differ in prediction id, route, route keys, generation and latency.
    """

    as_of: datetime
    rows: tuple[PredictionRow, ...]

    @property
    def last(self) -> PredictionRow:
        """The row logged last."""
        return self.rows[-1]

    @property
    def version(self) -> str:
        """Version that answered."""
        return self.last.version

    @property
    def error(self) -> str | None:
        """Reason of a failure; None for scores."""
        return self.last.error

    @property
    def routes(self) -> frozenset[str]:
        """Roles in which the version gave this answer."""
        return frozenset(row.route for row in self.rows)

    @property
    def route_keys(self) -> tuple[str, ...]:
        """Route keys that got this answer, each once, however often they were asked for."""
        return tuple(dict.fromkeys(key for row in self.rows for key in row.route_keys))


def distinct_answers(rows: Iterable[PredictionRow]) -> list[LoggedAnswer]:
    """Reduce rows of the prediction log to distinct answers.

    Parameters
    ----------
    rows : iterable of PredictionRow
        Rows of any bars and versions, in the order of the log. Rows without symbols are left out: they are
        scores of a client's own inputs, which belong to no bar.

    Returns
    -------
    list of LoggedAnswer
        One for each version, bar, input hash, symbols, scores and error, by the row logged last.
    """
    answers: dict[tuple[Any, ...], list[PredictionRow]] = {}
    for row in rows:
        if row.as_of is None or not row.symbols:
            continue
        # Bytes, because NaN differs from itself.
        scores = np.asarray(row.scores, dtype=np.float64).tobytes()
        key = (row.as_of, row.version, row.input_hash, row.symbols, scores, row.error)
        same = answers.pop(key, [])
        same.append(row)
        answers[key] = same
    return [LoggedAnswer(as_of, tuple(same)) for (as_of, *_), same in answers.items()]


def widest_answer(
    answers: Sequence[LoggedAnswer], universe_of: Callable[[str], Collection[str]]
) -> LoggedAnswer | None:
    """Select the answer that covers most of its version's universe, the last of those.

    A client that asks for only a few symbols therefore does not decide how a version is judged.

    Parameters
    ----------
    answers : sequence of LoggedAnswer
        Answers to choose from.
    universe_of : callable
        Returns the symbols by which a version is judged; empty counts all symbols of an answer.

    Returns
    -------
    LoggedAnswer or None
        None where there is nothing to choose from.
    """

    def covered(answer: LoggedAnswer) -> int:
        universe, symbols = universe_of(answer.version), answer.last.symbols
        return len(set(universe).intersection(symbols)) if universe else len(symbols)

    return max(reversed(answers), key=covered, default=None)
