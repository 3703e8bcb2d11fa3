"""Futures: the contract of a chain held at each bar, and prices as one continuous series.

The contract of a bar is decided from earlier bars alone. Prices stay as traded, since orders are placed on
them; the gap between two contracts goes into the adjustment, as a ratio that only grows forward, so that no
later roll changes an earlier value (the forward roll of López de Prado 2018, "Advances in Financial Machine
Learning", 2.4.3; on the effect of rolling rules on results: Ma, Mercer and Walker 1992, "Rolling over
futures contracts: a note", Journal of Futures Markets 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, TextMatrix
from alphaloop.errors import DataError, InputError
from alphaloop.instruments import Instrument

Indices = npt.NDArray[np.intp]


class RollRule(Protocol):
    """A rule that chooses the held contract."""

    def held(self, bars: BarPanel, chain: Sequence[Instrument]) -> Indices:
        """Return the index in `chain` of the contract at each bar, intp `[T]`.

        `chain` are the columns of `bars`, by expiry. The index never decreases, and depends on earlier bars
        only.
        """
        ...


@dataclass(frozen=True, slots=True)
class DaysBeforeExpiry:
    """Roll `days` calendar days before the last trading day, or at the contract's `roll` date."""

    days: int = 5

    def __post_init__(self) -> None:
        if self.days < 0:
            raise InputError(f"days before expiry are {self.days}; they must be 0 or more")

    def held(self, bars: BarPanel, chain: Sequence[Instrument]) -> Indices:
        """Return the contract at each bar; see `RollRule.held`."""
        days = bars.timestamps.astype("datetime64[D]")
        rolls = [contract.roll or _expiry(contract) - timedelta(days=self.days) for contract in chain[:-1]]
        begins = np.maximum.accumulate(np.array(rolls, dtype="datetime64[D]").astype(np.int64))
        return np.searchsorted(begins, days.astype(np.int64), side="right").astype(np.intp)


@dataclass(frozen=True, slots=True)
class VolumeCrossing:
    """Roll once the next contract's volume exceeded the held one's for `bars` bars in a row.

    These bars have closed before: the roll takes effect at the bar after them. A contract is left after its
    last trading day in any case.
    """

    bars: int = 1

    def __post_init__(self) -> None:
        if self.bars < 1:
            raise InputError(f"a volume crossing takes 1 bar or more, not {self.bars}")

    def held(self, bars: BarPanel, chain: Sequence[Instrument]) -> Indices:
        """Return the contract at each bar; see `RollRule.held`."""
        volume = np.nan_to_num(bars.volume, nan=0.0)
        days = bars.timestamps.astype("datetime64[D]")
        last_days = np.array([_expiry(contract) for contract in chain], dtype="datetime64[D]")
        indices = np.zeros(len(bars), dtype=np.intp)
        index, run = 0, 0
        for row in range(len(bars)):
            if row and index + 1 < len(chain):
                above = volume[row - 1, index + 1] > volume[row - 1, index]
                run = run + 1 if above else 0
                if run >= self.bars:
                    index, run = index + 1, 0
            while index + 1 < len(chain) and days[row] > last_days[index]:
                index, run = index + 1, 0
            indices[row] = index
        return indices


@dataclass(frozen=True, slots=True)
class ContinuousSeries:
    """Bars of one symbol, the chain's root, and the contract of each bar (text `[T]`)."""

    bars: BarPanel
    contracts: TextMatrix


def continuous_series(
    bars: BarPanel, chain: Sequence[Instrument], rule: RollRule, as_of: datetime
) -> ContinuousSeries:
    """Join the bars of the held contracts into one series named after their root.

    At each roll the adjustment is multiplied by the old contract's close over the new one's, at the last
    earlier bar at which both traded: the adjusted return over the roll is that of the new contract.

    Parameters
    ----------
    bars
        Bars of all contracts, as traded.
    chain
        Contracts of one root, in any order.
    rule
        `DaysBeforeExpiry`, `VolumeCrossing` or another `RollRule`.
    as_of
        Moment after which bars are ignored, aware.

    Returns
    -------
    ContinuousSeries
        Prices as traded with the adjustment of the rolls, and the contract of each bar.

    Raises
    ------
    DataError
        For contracts without bars, of several roots, or that never traded on one bar.

    References
    ----------
    López de Prado (2018), "Advances in Financial Machine Learning", section 2.4.3.
    """
    ordered = _by_expiry(chain)
    panel = bars.between(end=as_of).select(_traded(bars, ordered))
    indices = rule.held(panel, ordered)
    rows = np.arange(len(panel))
    adjustment: npt.NDArray[np.float64] = np.cumprod(_ratios(panel, indices), dtype=np.float64)
    columns: dict[str, Any] = {name: getattr(panel, name)[rows, indices][:, None] for name in _COLUMNS}
    held = replace(
        panel,
        symbols=(ordered[0].root,),
        **columns,
        adjustment=adjustment[:, None],
        extra={name: values[rows, indices][:, None] for name, values in panel.extra.items()},
        providers=None if panel.providers is None else panel.providers[rows, indices][:, None],
        disputed=None if panel.disputed is None else panel.disputed[rows, indices][:, None],
    )
    return ContinuousSeries(held, np.array([contract.symbol for contract in ordered], dtype=object)[indices])


_COLUMNS = ("open", "high", "low", "close", "volume")


def _by_expiry(chain: Sequence[Instrument]) -> list[Instrument]:
    roots = {contract.root for contract in chain}
    if len(roots) != 1:
        raise DataError(
            f"a chain has the contracts of one root, not of: {', '.join(sorted(roots)) or 'none'}"
        )
    return sorted(chain, key=_expiry)


def _traded(bars: BarPanel, chain: Sequence[Instrument]) -> tuple[str, ...]:
    missing = [contract.symbol for contract in chain if contract.symbol not in bars.symbols]
    if missing:
        raise DataError(f"there are no bars of {', '.join(missing)}; known: {', '.join(bars.symbols)}")
    return tuple(contract.symbol for contract in chain)


def _ratios(panel: BarPanel, indices: Indices) -> npt.NDArray[np.float64]:
    """Return the multiplier of the adjustment at each bar, float64 `[T]`."""
    ratios = np.ones(len(panel))
    for row in np.flatnonzero(np.diff(indices)) + 1:
        old, new = indices[row - 1], indices[row]
        both = np.isfinite(panel.close[:row, old]) & np.isfinite(panel.close[:row, new])
        if not both.any():
            names = f"{panel.symbols[old]} and {panel.symbols[new]}"
            raise DataError(
                f"{names} never traded on one bar before the roll at {panel.timestamps[row]}; "
                "add bars of the new contract from before it"
            )
        last = int(np.flatnonzero(both)[-1])
        ratios[row] = panel.close[last, old] / panel.close[last, new]
    return ratios


def _expiry(contract: Instrument) -> date:
    if contract.expiry is None:
        raise DataError(f"{contract.symbol} has no expiry; it is no contract of a chain")
    return contract.expiry
