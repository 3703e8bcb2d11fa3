"""Training universe of a version, and the inputs that it requires.

In a cross-sectional version a symbol's score depends on the other symbols. Such a version is scored on its
whole training universe, and the requested symbols are taken from the result, so every request gets the same
bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from alphaloop.errors import FeatureSetMismatchError, UnknownNameError
from alphaloop.forecasts import SymbolStatus
from alphaloop.universe_hash import hash_universe
from models.registry.card import Card
from serving.inference.values import ScoringInputs, VersionScores
from serving.protocol.messages import InvalidRequestError, Panel
from serving.protocol.request_limits import MAX_PANEL_SYMBOLS, max_compared_symbols


@dataclass(frozen=True, slots=True)
class VersionUniverse:
    """Symbols that a version was trained on, in training order.

    `symbols`: empty if the version's card has none. `scored_whole`: score requests by symbols on all of them.
    `max_panel_symbols`: maximum number of symbols in a client's panel. `digest`: hash of the symbols
    (`alphaloop.universe_hash`). `owner`: model and version, for messages.
    """

    owner: str
    symbols: tuple[str, ...]
    scored_whole: bool
    max_panel_symbols: int
    digest: str
    _index: dict[str, int] = field(repr=False, compare=False)

    @classmethod
    def from_card(cls, model: str, version: str, card: Card) -> Self:
        """Build the universe from `card`."""
        return cls(
            f"{model} version {version}",
            card.universe,
            card.cross_sectional and bool(card.universe),
            max_compared_symbols(len(card.universe)) if card.cross_sectional else MAX_PANEL_SYMBOLS,
            hash_universe(card.universe),
            _indices(card.universe),
        )

    def can_score(self, asked: Iterable[str]) -> bool:
        """Return whether a request for `asked` can be scored.

        A version that is scored on its whole universe needs at least one of its symbols in the request.
        """
        return not self.scored_whole or any(symbol in self._index for symbol in asked)

    def require_known(self, asked: Sequence[str]) -> None:
        """Raise `UnknownNameError` unless `asked` can be scored (see `can_score`)."""
        if not self.can_score(asked):
            where = f"the universe of {len(self.symbols)} symbols that {self.owner} scores"
            raise UnknownNameError("symbol", asked[0] if asked else "", self.symbols, where=where)

    def require_panel_symbols(self, sent: int) -> None:
        """Raise `InvalidRequestError` for a panel of more than `max_panel_symbols` symbols."""
        if sent > self.max_panel_symbols:
            raise InvalidRequestError(
                f"input 'panel' has {sent} symbols; {self.owner} compares them with each other, and takes at "
                f"most {self.max_panel_symbols}"
            )

    def require_same_universe(self, digest: str) -> None:
        """Raise `FeatureSetMismatchError` if cross-sectional features are over another universe.

        `digest` is the universe hash of the online store, empty if none of its features depends on a
        universe.
        """
        if digest and self.digest and digest != self.digest:
            raise FeatureSetMismatchError(
                f"{self.owner} was trained on features over a universe of {len(self.symbols)} symbols "
                f"({self.digest[:12]}), the online store's are over another ({digest[:12]}); start again "
                "what writes it (alphaloop trade, alphaloop features materialize) with bars of them all, or "
                "train it on the present ones"
            )

    def select_inputs(self, read: ScoringInputs) -> ScoringInputs:
        """Return the part of `read` that a version scored on its whole universe needs."""
        return read if read.symbols == self.symbols else _select(read, self.symbols)

    def select_scores(self, scored: VersionScores, asked: Sequence[str]) -> VersionScores:
        """Take the scores of `asked` from those of the whole universe; unknown symbols are `missing`.

        The input hash remains that of the whole universe, on which the scores depend.
        """
        indices = [self._index.get(symbol, -1) for symbol in asked]
        statuses = (*scored.statuses, SymbolStatus.MISSING)
        return replace(
            scored,
            scores=_rows(scored.scores, indices),
            panel=_rows(scored.panel, indices),
            statuses=tuple(statuses[index] for index in indices),
        )


def symbols_to_read(asked: tuple[str, ...], universes: Sequence[VersionUniverse]) -> tuple[str, ...]:
    """Return the symbols to read for versions of these `universes`.

    That is `asked` itself if no version is scored on its whole universe. Raises `UnknownNameError` if the
    first version, which must be able to answer, knows none of `asked`.
    """
    whole = [universe for universe in universes if universe.scored_whole]
    if not whole:
        return asked
    universes[0].require_known(asked)
    if all(universe.symbols == universes[0].symbols and universe.scored_whole for universe in universes):
        # All requests of a bar then read the same symbols, and the store is read once.
        return universes[0].symbols
    symbols = dict.fromkeys(symbol for universe in whole for symbol in universe.symbols)
    return tuple(symbols if len(whole) == len(universes) else symbols | dict.fromkeys(asked))


def select_requested(read: ScoringInputs, asked: tuple[str, ...]) -> ScoringInputs:
    """Reduce the inputs to the symbols `asked`; return `read` itself if no others were read."""
    return read if read.symbols is asked else _select(read, asked)


def _select(read: ScoringInputs, symbols: tuple[str, ...]) -> ScoringInputs:
    """Return the rows of `read` for `symbols`, NaN for symbols that were not read."""
    index = _indices(read.symbols)
    panel = _rows(read.panel, [index.get(symbol, -1) for symbol in symbols])
    return replace(read, panel=panel, complete=bool(np.isfinite(panel).all()), symbols=symbols)


def _indices(symbols: tuple[str, ...]) -> dict[str, int]:
    return {symbol: index for index, symbol in enumerate(symbols)}


def _rows(values: Panel, indices: Sequence[int]) -> Panel:
    """Return the rows of `values` at `places`, NaN where an index is -1."""
    chosen = np.array(indices, dtype=np.intp)
    rows: Panel = values[chosen]
    rows[chosen < 0] = np.nan
    return rows
