"""Universes: whose bars to look at, as it was known at any time.

A universe of today's members, taken back in time, holds only companies that did well enough to be in
it still: results on it are flattered (Brown, Goetzmann, Ibbotson and Ross 1992, "Survivorship bias in
performance studies", Review of Financial Studies 5). So membership is asked for as of each bar, and who
left or failed stays in the past (what holders got in the end: `marketdata.point_in_time.delistings`).
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
    """The members of `name` among `memberships`, and their sectors. `UnknownNameError` for a strange name."""

    name: str
    memberships: MembershipHistory
    sectors: MembershipHistory | None = None

    def __post_init__(self) -> None:
        if self.name not in self.memberships.groups():
            raise UnknownNameError("universe", self.name, self.memberships.groups())

    def symbols(self) -> tuple[str, ...]:
        """Everyone who was ever a member: what to fetch bars of."""
        return self.memberships.symbols(self.name)

    def members(self, as_of: datetime) -> tuple[str, ...]:
        """The members at `as_of` by what was published then, sorted."""
        return self.memberships.members(as_of, self.name)

    def panel(self, bars: BarPanel) -> BarPanel:
        """The bars with the extra column `sector`: its code at each bar, NaN outside the universe.

        Codes are places in `sectors.groups()`, 0 throughout where no sectors are known.
        """
        member = self.memberships.mask(bars.timestamps, bars.symbols, self.name)
        codes = np.zeros(member.shape)
        if self.sectors is not None:
            codes = self.sectors.codes(bars.timestamps, bars.symbols)
        return replace(bars, extra={**bars.extra, SECTOR: np.where(member, codes, np.nan)})

    def restrict(self, bars: BarPanel) -> BarPanel:
        """The bars of members alone: NaN wherever a symbol was not known to be one.

        Indicators then begin anew with a symbol's membership. To keep what came before, compute them on
        all bars and rank only where `memberships.mask` holds.
        """
        member = self.memberships.mask(bars.timestamps, bars.symbols, self.name)

        def kept(values: FloatMatrix) -> FloatMatrix:
            return np.where(member, values, np.nan)

        names = ("open", "high", "low", "close", "volume")
        columns: dict[str, Any] = {name: kept(getattr(bars, name)) for name in names}
        return replace(bars, **columns, extra={name: kept(values) for name, values in bars.extra.items()})
