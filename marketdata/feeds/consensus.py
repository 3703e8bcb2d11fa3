"""Consensus between providers that report the same bar.

Two bars agree where every column that both have lies within its tolerance. In this order:
`agree` all agree with the first; `majority` a bar with which more than half agree, itself counted (of
three: the one confirmed by another); `past` the bars with a close that is no outlier against the symbol's
own past changes, if they agree and others are outliers. Otherwise the bar is undecided: the first one is
used, marked as disputed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Bar
from alphaloop.errors import InputError

Floats = npt.NDArray[np.float64]
ConsensusRule = Literal["alone", "agree", "majority", "past", "none"]

# Venues report different volumes, so by default only prices are compared.
DEFAULT_TOLERANCES: Mapping[str, float] = MappingProxyType(
    {"open": 0.002, "high": 0.002, "low": 0.002, "close": 0.001}
)
COLUMNS = ("open", "high", "low", "close", "volume", "adjustment")
# The standard deviation of a normal distribution over its median absolute deviation.
NORMAL_OVER_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class ConsensusResult:
    """The bar to use, and the rule that decided; `outvoted` are the rejected providers.

    `bar.disputed` is set where no rule could decide.
    """

    bar: Bar
    rule: ConsensusRule
    outvoted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Consensus:
    """Decides between providers. Pure: equal bars with an equal past give an equal verdict.

    `tolerances` are by column and relative to the larger value; a column without one is not compared.
    `outlier` is the limit of a change in robust standard deviations; estimating the scale takes `min_changes`
    past changes, and it is never taken below the tolerance of the close. `InputError` for a tolerance of an
    unknown column, or a number that makes no sense.
    """

    tolerances: Mapping[str, float] = field(default_factory=lambda: DEFAULT_TOLERANCES)
    outlier: float = 10.0
    min_changes: int = 10

    def __post_init__(self) -> None:
        for column, tolerance in self.tolerances.items():
            if column not in COLUMNS or not 0 <= tolerance < 1:
                raise InputError(
                    f"tolerance of '{column}' is {tolerance}; it must lie in [0, 1), of: {', '.join(COLUMNS)}"
                )
        if not self.outlier > 0 or self.min_changes < 2:
            raise InputError(
                f"outlier is {self.outlier} and min_changes {self.min_changes}; give > 0 and >= 2"
            )

    def agree(self, one: Bar, other: Bar) -> bool:
        """Return True if two bars agree in every column that both have. Symmetric."""
        for column, tolerance in self.tolerances.items():
            left, right = getattr(one, column), getattr(other, column)
            if left is not None and right is not None:
                if abs(left - right) > tolerance * max(abs(left), abs(right)):
                    return False
        return True

    def settle(self, bars: Sequence[Bar], past: Sequence[float] = ()) -> ConsensusResult:
        """Decide between `bars` of one symbol and timestamp, the preferred provider's first.

        `past` are the adjusted closes before, oldest first. A single bar is believed unless it is an outlier.
        `InputError` if there is no bar, or the bars have different symbols or timestamps.
        """
        if not bars or len({(bar.symbol, bar.timestamp) for bar in bars}) != 1:
            listed = ", ".join(f"{bar.symbol} at {bar.timestamp.isoformat()}" for bar in bars)
            raise InputError(
                f"a verdict is about the bars of one symbol and timestamp, not: {listed or 'none'}"
            )
        if len(bars) == 1:
            return _disputed(bars[0]) if self._outliers(bars, past)[0] else ConsensusResult(bars[0], "alone")
        if all(self.agree(bars[0], other) for other in bars[1:]):
            return ConsensusResult(bars[0], "agree")
        agreeing = np.array([[self.agree(one, other) for other in bars] for one in bars])
        borne_out = np.flatnonzero(agreeing.sum(axis=1) * 2 > len(bars))
        if len(borne_out):
            return self._decided(bars, agreeing, int(borne_out[0]), "majority")
        calm = np.flatnonzero(~self._outliers(bars, past))
        if 0 < len(calm) < len(bars) and agreeing[np.ix_(calm, calm)].all():
            return self._decided(bars, agreeing, int(calm[0]), "past")
        return _disputed(bars[0])

    def _outliers(self, bars: Sequence[Bar], past: Sequence[float]) -> npt.NDArray[np.bool_]:
        scale = _Past(past, self.min_changes, self.tolerances.get("close", 0.0))
        return scale.deviations(bars) > self.outlier

    def _decided(
        self, bars: Sequence[Bar], agreeing: npt.NDArray[np.bool_], chosen: int, rule: ConsensusRule
    ) -> ConsensusResult:
        outvoted = tuple(bar.provider for bar, same in zip(bars, agreeing[chosen], strict=True) if not same)
        return ConsensusResult(bars[chosen], rule, outvoted)


class _Past:
    """The robust scale of a symbol's relative changes: median and median absolute deviation."""

    def __init__(self, closes: Sequence[float], min_changes: int, floor: float) -> None:
        known = np.asarray(closes, dtype=np.float64)
        self._known = len(known) > min_changes
        if self._known:
            changes = known[1:] / known[:-1] - 1.0
            self._last, self._middle = known[-1], float(np.median(changes))
            spread = float(np.median(np.abs(changes - self._middle)))
            # Without a floor, the first tick after an unchanged price would be an outlier.
            self._scale = max(NORMAL_OVER_MAD * spread, floor, np.finfo(float).eps)

    def deviations(self, bars: Sequence[Bar]) -> Floats:
        """Return each close's deviation in robust standard deviations, `[bars]`; 0 without a scale."""
        if not self._known:
            return np.zeros(len(bars))
        changes = np.array([bar.close * bar.adjustment for bar in bars]) / self._last - 1.0
        deviations: Floats = np.abs(changes - self._middle) / self._scale
        return deviations


def _disputed(bar: Bar) -> ConsensusResult:
    return ConsensusResult(replace(bar, disputed=True), "none")
