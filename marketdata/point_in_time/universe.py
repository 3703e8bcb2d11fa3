"""Universes: the set of symbols in scope, as known at any time.

A universe of today's members, taken back in time, holds only companies that did well enough to still be
in it: results on it are flattered (Brown, Goetzmann, Ibbotson and Ross 1992, "Survivorship bias in
performance studies", Review of Financial Studies 5). So membership is looked up as of each bar, and symbols
that left or failed stay in the past (their final proceeds: `marketdata.point_in_time.adjusted_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alphaloop.errors import UnknownNameError
from marketdata.point_in_time.membership import MembershipHistory


@dataclass(frozen=True)
class Universe:
    """The members of a universe over time.

    Parameters
    ----------
    name
        Group among `memberships`.
    memberships
        Members of the universe, possibly among other groups.

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

    def __post_init__(self) -> None:
        if self.name not in self.memberships.groups():
            raise UnknownNameError("universe", self.name, self.memberships.groups())

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that was ever a member: the symbols to fetch bars of."""
        return self.memberships.symbols(self.name)

    def members(self, as_of: datetime) -> tuple[str, ...]:
        """Return the members at `as_of` as published by then, sorted."""
        return self.memberships.members(as_of, self.name)
