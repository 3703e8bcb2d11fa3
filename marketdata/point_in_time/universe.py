"""Universes: the set of symbols in scope, as known at any time.

A universe of today's members, taken back in time, holds only companies that did well enough to still be
in it: results on it are flattered (Brown, Goetzmann, Ibbotson and Ross 1992, "Survivorship bias in
performance studies", Review of Financial Studies 5). So membership is looked up as of each bar, and symbols
that left or failed stay in the past (their final proceeds: `marketdata.point_in_time.delistings`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel, FloatMatrix
from alphaloop.errors import UnknownNameError
from marketdata.point_in_time.membership import MembershipHistory

SECTOR = "sector"


@dataclass(frozen=True)
class Universe:
    """The members of a universe over time, and their sectors.

    Parameters
    ----------
    name
        Group among `memberships`.
    memberships
        Members of the universe, possibly among other groups.
    sectors
        Sector of each symbol over time; None where sectors are not known.

    Raises
    ------
    UnknownNameError
        For a name that is not among the groups of `memberships`.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from marketdata.point_in_time.membership import Membership, MembershipHistory
    >>> from marketdata.point_in_time.universe import Universe
    >>> start = datetime(2020, 1, 2, tzinfo=UTC)
    >>> memberships = [Membership(symbol, "large", start, published=start) for symbol in ("B", "A")]
    >>> Universe("large", MembershipHistory(memberships)).members(datetime(2021, 1, 4, tzinfo=UTC))
    ('A', 'B')
    """

    name: str
    memberships: MembershipHistory
    sectors: MembershipHistory | None = None

    def __post_init__(self) -> None:
        if self.name not in self.memberships.groups():
            raise UnknownNameError("universe", self.name, self.memberships.groups())

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that was ever a member: the symbols to fetch bars of."""
        return self.memberships.symbols(self.name)

    def members(self, as_of: datetime) -> tuple[str, ...]:
        """Return the members at `as_of` as published by then, sorted."""
        return self.memberships.members(as_of, self.name)

    def panel(self, bars: BarPanel) -> BarPanel:
        """Return the bars with the extra column `sector`: a code, NaN outside the universe.

        Codes are indices in `sectors.groups()`, 0 throughout where no sectors are known.
        """
        member = self.memberships.mask(bars.timestamps, bars.symbols, self.name)
        codes = np.zeros(member.shape)
        if self.sectors is not None:
            codes = self.sectors.codes(bars.timestamps, bars.symbols)
        return replace(bars, extra={**bars.extra, SECTOR: np.where(member, codes, np.nan)})

    def restrict(self, bars: BarPanel) -> BarPanel:
        """Return the bars of members alone: NaN wherever a symbol was not a known member.

        Indicators then begin anew with a symbol's membership. To keep earlier bars, compute them on all bars
        and rank only where `memberships.mask` is True.
        """
        member = self.memberships.mask(bars.timestamps, bars.symbols, self.name)

        def kept(values: FloatMatrix) -> FloatMatrix:
            return np.where(member, values, np.nan)

        names = ("open", "high", "low", "close", "volume")
        columns: dict[str, Any] = {name: kept(getattr(bars, name)) for name in names}
        return replace(bars, **columns, extra={name: kept(values) for name, values in bars.extra.items()})
