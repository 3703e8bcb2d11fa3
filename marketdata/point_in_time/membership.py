"""Memberships of groups (a universe, a sector) over time, and the publication of each.

Each has two times: the period for which it holds and the moment from which it was known (bitemporal tables:
Snodgrass 1999, "Developing Time-Oriented Database Applications in SQL").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix, Timestamps, to_datetime64
from alphaloop.clock import as_utc
from alphaloop.errors import DataError, UnknownNameError
from marketdata.point_in_time.record_files import read_dataclasses

DEFAULT_GROUP = "universe"
"""Group of the rows of a file that name none."""
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership of `symbol` in `group` from `start` until before `end` (None: open-ended).

    A later publication of the same symbol, group and start replaces an earlier one: an end that was
    announced, or a cancelled start (an end at the start). `DataError` for impossible times.
    """

    symbol: str
    group: str
    start: datetime
    published: datetime
    end: datetime | None = None

    def __post_init__(self) -> None:
        if not self.symbol or not self.group:
            raise DataError(f"a membership names symbol and group, not '{self.symbol}' and '{self.group}'")
        for name in ("start", "published", "end"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise DataError(f"{self.symbol} in {self.group}: {name} is {moment}, without a time zone")
        if self.end is not None and self.end < self.start:
            raise DataError(f"{self.symbol} in {self.group}: it ends on {self.end}, before {self.start}")


class MembershipHistory:
    """Memberships of any number of groups, as known at any moment.

    Parameters
    ----------
    memberships
        Every publication, in any order.

    Raises
    ------
    DataError
        For two publications of one membership at one moment.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from marketdata.point_in_time.membership import Membership, MembershipHistory
    >>> joined, left = datetime(2020, 1, 2, tzinfo=UTC), datetime(2022, 1, 3, tzinfo=UTC)
    >>> history = MembershipHistory([Membership("XYZ", "index", joined, published=joined, end=left)])
    >>> history.members(datetime(2021, 1, 4, tzinfo=UTC), "index")
    ('XYZ',)
    >>> history.members(left, "index")
    ()
    """

    def __init__(self, memberships: Sequence[Membership]) -> None:
        self._known: list[tuple[Membership, datetime]] = []
        versions: dict[tuple[str, str, datetime], list[Membership]] = {}
        for one in sorted(memberships, key=lambda one: one.published):
            versions.setdefault((one.symbol, one.group, one.start), []).append(one)
        for publications in versions.values():
            published = [one.published for one in publications]
            if len(set(published)) < len(published):
                one = publications[0]
                raise DataError(
                    f"{one.symbol} in {one.group} from {one.start} was published twice at one moment"
                )
            self._known += zip(publications, [*published[1:], _FOREVER], strict=True)

    @classmethod
    def read(cls, path: Path) -> MembershipHistory:
        """Read a CSV, Parquet or TOML file with the fields of `Membership` as columns.

        Rows without a group are of the group `universe`. `DataError` names file, row and column.
        """
        memberships = read_dataclasses(path, Membership, {"group": DEFAULT_GROUP})
        try:
            return cls(memberships)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def groups(self) -> tuple[str, ...]:
        """Return all groups in the order of their first publication: a later one moves no index."""
        first: dict[str, datetime] = {}
        for membership, _ in self._known:
            first[membership.group] = min(membership.published, first.get(membership.group, _FOREVER))
        return tuple(sorted(first, key=lambda group: (first[group], group)))

    def symbols(self, group: str | None = None) -> tuple[str, ...]:
        """Return every symbol that was ever a member, sorted, former ones included."""
        return tuple(
            sorted({membership.symbol for membership, _ in self._known if group in (None, membership.group)})
        )

    def members(self, as_of: datetime, group: str) -> tuple[str, ...]:
        """Return the members at `as_of` as published by then, sorted.

        `UnknownNameError` for a group that does not exist.
        """
        self._require(group)
        moment = as_utc(as_of)
        inside = {
            membership.symbol
            for membership, replaced in self._known
            if membership.group == group
            and membership.published <= moment < replaced
            and membership.start <= moment < (membership.end or _FOREVER)
        }
        return tuple(sorted(inside))

    def mask(self, timestamps: Timestamps, symbols: Sequence[str], group: str) -> npt.NDArray[np.bool_]:
        """Return True for each bar at which a symbol was a known member of `group`, bool `[bars, symbols]`.

        `timestamps` are the closes of the bars, `[bars]`. `UnknownNameError` for a group that does not exist.
        """
        self._require(group)
        member = np.zeros((len(timestamps), len(symbols)), dtype=bool)
        for rows, column, _ in self._places(timestamps, symbols, group):
            member[rows, column] = True
        return member

    def codes(self, timestamps: Timestamps, symbols: Sequence[str]) -> FloatMatrix:
        """Return the index in `groups` of each symbol's group at each bar.

        `timestamps` are the closes of the bars, `[bars]`; the result is float64 `[bars, symbols]`, NaN where
        a symbol has no group. `DataError` for a symbol that is in two groups at once.
        """
        code = {group: float(index) for index, group in enumerate(self.groups())}
        codes = np.full((len(timestamps), len(symbols)), np.nan)
        for rows, column, group in self._places(timestamps, symbols, None):
            taken = np.isfinite(codes[rows, column]) & (codes[rows, column] != code[group])
            if taken.any():
                row = rows.start + int(np.argmax(taken))
                raise DataError(
                    f"{symbols[column]} is in two groups at {timestamps[row]}: {group} and "
                    f"{self.groups()[int(codes[row, column])]}; end the first when the second starts"
                )
            codes[rows, column] = code[group]
        return codes

    def _places(
        self, timestamps: Timestamps, symbols: Sequence[str], group: str | None
    ) -> Iterator[tuple[slice, int, str]]:
        """Yield rows, column and group of each known membership that covers any of these bars."""
        column = {symbol: index for index, symbol in enumerate(symbols)}
        for membership, replaced in self._known:
            if membership.symbol in column and group in (None, membership.group):
                begin = max(membership.start, membership.published)
                end = min(membership.end or _FOREVER, replaced)
                rows = slice(*(int(np.searchsorted(timestamps, _moment(edge))) for edge in (begin, end)))
                if rows.start < rows.stop:
                    yield rows, column[membership.symbol], membership.group

    def _require(self, group: str) -> None:
        groups = self.groups()
        if group not in groups:
            raise UnknownNameError("group", group, groups)


def _moment(moment: datetime) -> np.datetime64:
    # datetime64[ns] reaches from 1678 to 2261; an open end lies beyond.
    year = min(max(moment.year, 1700), 2261)
    return to_datetime64(moment if year == moment.year else datetime(year, 1, 1, tzinfo=UTC))
