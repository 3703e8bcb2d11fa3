"""The universe of a version: what a request by symbols is scored on, whichever of them it asks for.

Where a score depends on the other symbols, a symbol among few has another score than among all. So such a
version is scored on the whole universe that it was trained on, and of that the symbols asked for are
answered: the same bits, whoever asks.
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
from serving.inference.values import Inputs, Scored
from serving.protocol.messages import InvalidRequestError, Panel
from serving.protocol.request_limits import MAX_PANEL_SYMBOLS, most_compared


@dataclass(frozen=True, slots=True)
class Universe:
    """The symbols that a version was trained on, in training's order; none where its card does not say.

    `whole` says that a request by symbols is to be scored on all of them, `most_sent` how many symbols a
    client's panel may have. `digest` is their hash (`alphaloop.universe_hash`), `owner` the version in words.
    """

    owner: str
    symbols: tuple[str, ...]
    whole: bool
    most_sent: int
    digest: str
    _place: dict[str, int] = field(repr=False, compare=False)

    @classmethod
    def of(cls, model: str, version: str, card: Card) -> Self:
        """The universe that `card` names."""
        return cls(
            f"{model} version {version}",
            card.universe,
            card.cross_sectional and bool(card.universe),
            most_compared(len(card.universe)) if card.cross_sectional else MAX_PANEL_SYMBOLS,
            hash_universe(card.universe),
            _places(card.universe),
        )

    def holds(self, asked: Iterable[str]) -> bool:
        """Whether a request for `asked` can be scored: not where none of them is of a universe it needs."""
        return not self.whole or any(symbol in self._place for symbol in asked)

    def require_holding(self, asked: Sequence[str]) -> None:
        """Raise `UnknownNameError` unless it `holds` any of `asked`."""
        if not self.holds(asked):
            where = f"the universe of {len(self.symbols)} symbols that {self.owner} scores"
            raise UnknownNameError("symbol", asked[0] if asked else "", self.symbols, where=where)

    def require_few(self, sent: int) -> None:
        """Raise `InvalidRequestError` for a panel of more than `most_sent` symbols."""
        if sent > self.most_sent:
            raise InvalidRequestError(
                f"input 'panel' has {sent} symbols; {self.owner} compares them with each other, and takes at "
                f"most {self.most_sent}"
            )

    def require_ranks_over(self, digest: str) -> None:
        """Raise `FeatureSetMismatchError` where cross-sectional features are over another universe.

        `digest` is what the online store names, empty where nothing in it depends on a universe.
        """
        if digest and self.digest and digest != self.digest:
            raise FeatureSetMismatchError(
                f"{self.owner} was trained on features over a universe of {len(self.symbols)} symbols "
                f"({self.digest[:12]}), the online store's are over another ({digest[:12]}); start again "
                "what writes it (alphaloop trade, alphaloop features materialize) with bars of them all, or "
                "train it on the present ones"
            )

    def inputs(self, read: Inputs) -> Inputs:
        """What a version that is scored `whole` is given of what was `read`."""
        return read if read.symbols == self.symbols else _of(read, self.symbols)

    def answer(self, scored: Scored, asked: Sequence[str]) -> Scored:
        """Of the whole universe's scores those of `asked`; one that is not of it is `missing`.

        The hash stays that of all that the scores depend on.
        """
        places = [self._place.get(symbol, -1) for symbol in asked]
        statuses = (*scored.statuses, SymbolStatus.MISSING)
        return replace(
            scored,
            scores=_rows(scored.scores, places),
            seen=_rows(scored.seen, places),
            statuses=tuple(statuses[place] for place in places),
        )


def to_read(asked: tuple[str, ...], universes: Sequence[Universe]) -> tuple[str, ...]:
    """The symbols to read for versions of these `universes`: `asked` itself where none is scored whole.

    Raises `UnknownNameError` where the first version, which must be able to answer, knows none of `asked`.
    """
    whole = [one for one in universes if one.whole]
    if not whole:
        return asked
    universes[0].require_holding(asked)
    if all(one.symbols == universes[0].symbols and one.whole for one in universes):
        # The same for every request of a bar, so that the store is read once.
        return universes[0].symbols
    wanted = dict.fromkeys(symbol for one in whole for symbol in one.symbols)
    return tuple(wanted if len(whole) == len(universes) else wanted | dict.fromkeys(asked))


def asked_of(read: Inputs, asked: tuple[str, ...]) -> Inputs:
    """The inputs of a request for `asked`, of which more was `read`; itself where that is what was read."""
    return read if read.symbols is asked else replace(_of(read, asked), read=read)


def _of(read: Inputs, symbols: tuple[str, ...]) -> Inputs:
    """The part of `read` for `symbols`, NaN for those that were not read."""
    place = _places(read.symbols)
    panel = _rows(read.panel, [place.get(symbol, -1) for symbol in symbols])
    return replace(read, panel=panel, complete=bool(np.isfinite(panel).all()), symbols=symbols)


def _places(symbols: tuple[str, ...]) -> dict[str, int]:
    return {symbol: place for place, symbol in enumerate(symbols)}


def _rows(values: Panel, places: Sequence[int]) -> Panel:
    """The rows of `values` at `places`, NaN where a place is -1."""
    chosen = np.array(places, dtype=np.intp)
    rows: Panel = values[chosen]
    rows[chosen < 0] = np.nan
    return rows
