"""Risk limits, enforced on target weights before orders are made.

Reduce-only means that no position grows: sales pass, purchases do not. It applies to a sleeve with stale or
missing forecasts, to the whole book in a drawdown or with a stale feed, and to a symbol whose bar is
disputed. `trading.decision` applies the limits and refuses stale scores; `trading.forecasts` refuses what
came too late, and `trading.engine` a bar that is too old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.decision.book_limits import clip_weights, name_cap, reduce_to_held
from alphaloop.runtime.stored_values import restore
from alphaloop.settings.trading import TradingSettings

Matrix = npt.NDArray[np.float64]

GROSS_TOLERANCE = 0.01
"""Relative excess of gross that is trimmed without a report.

It is the drift between close and fill.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Limits of the risk check.

    Parameters
    ----------
    max_gross : float
        Largest sum of weights, as a share of a sleeve's equity; above 0.
    max_weight : float or None
        Largest weight of one symbol, as a share of a sleeve's equity; None for the default, which depends on
        the number of symbols (`alphaloop.decision.book_limits.name_cap`).
    max_drawdown : float
        Loss from the whole book's highest equity after which nothing is bought, in (0, 1].
    max_feature_age : timedelta
        Largest age of the features behind a forecast.
    max_bar_age : timedelta or None
        Largest age of the bar by the engine's clock; None for no check, as in a replay.
    prediction_deadline_ms : int or None
        Milliseconds allowed for all forecasts of one bar; None for no deadline, as in a backtest.

    Raises
    ------
    ValueError
        For a limit outside of its range.

    Examples
    --------
    >>> RiskLimits().for_names(5).max_weight
    0.5
    """

    max_gross: float = 1.0
    max_weight: float | None = None
    max_drawdown: float = 0.40
    max_feature_age: timedelta = timedelta(0)
    max_bar_age: timedelta | None = None
    prediction_deadline_ms: int | None = 2_000

    def __post_init__(self) -> None:
        no_cap = self.max_weight is not None and self.max_weight <= 0
        if self.max_gross <= 0 or no_cap or not 0 < self.max_drawdown <= 1:
            raise ValueError(f"limits must be positive, and drawdown a share in (0, 1]: {self}")

    @classmethod
    def from_settings(cls, settings: TradingSettings) -> RiskLimits:
        """Return the limits that `settings.trading` describes."""
        return cls(
            max_gross=settings.max_gross,
            max_weight=settings.max_weight,
            max_drawdown=settings.max_drawdown,
            prediction_deadline_ms=settings.prediction_deadline_ms,
            max_bar_age=timedelta(seconds=settings.max_bar_age_seconds),
        )

    def for_names(self, names: int) -> RiskLimits:
        """Return these limits with the weight cap of a book of `names` symbols."""
        return replace(self, max_weight=name_cap(self.max_weight, names))

    def to_body(self) -> dict[str, Any]:
        """Convert the limits to plain values for the journal."""
        return {
            "max_gross": self.max_gross,
            "max_weight": self.max_weight,
            "max_drawdown": self.max_drawdown,
            "max_feature_age": self.max_feature_age.total_seconds(),
            "max_bar_age": None if self.max_bar_age is None else self.max_bar_age.total_seconds(),
            "prediction_deadline_ms": self.prediction_deadline_ms,
        }

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> RiskLimits:
        """Restore the limits that `to_body` wrote."""
        bar_age = body["max_bar_age"]
        return cls(
            **body
            | {
                "max_feature_age": timedelta(seconds=body["max_feature_age"]),
                "max_bar_age": None if bar_age is None else timedelta(seconds=bar_age),
            }
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action that the risk check refused.

    Parameters
    ----------
    rule : str
        Rule that refused it.
    reason : str
        Explanation with figures and limit.
    sleeves : tuple of str
        Sleeves concerned.
    symbol : str, optional
        Symbol concerned; None for all.
    """

    rule: str
    reason: str
    sleeves: tuple[str, ...]
    symbol: str | None = None

    def to_body(self) -> dict[str, Any]:
        """Convert the refusal to plain values for the journal."""
        return {
            "rule": self.rule,
            "reason": self.reason,
            "sleeves": list(self.sleeves),
            "symbol": self.symbol,
        }

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Refusal:
        """Restore the refusal that `to_body` wrote."""
        return restore(cls, body)


@dataclass(frozen=True, slots=True)
class RiskCheck:
    """A pure check that clips target weights to the limits.

    Parameters
    ----------
    limits : RiskLimits
        The limits.

    Examples
    --------
    >>> check = RiskCheck(RiskLimits(max_drawdown=0.2))
    >>> [refusal.rule for refusal in check.drawdown(Decimal(70), Decimal(100), ("sleeve-00",))]
    ['drawdown']
    """

    limits: RiskLimits = field(default_factory=RiskLimits)

    def drawdown(self, equity: Decimal, peak: Decimal, sleeves: tuple[str, ...]) -> list[Refusal]:
        """Refuse purchases of every sleeve once the book has lost `max_drawdown`.

        The loss is measured from the book's highest equity. The refusal lasts until equity recovers or a
        person resets the book.
        """
        lost = float(1 - equity / peak) if peak > 0 else 1.0
        if lost < self.limits.max_drawdown:
            return []
        limit = self.limits.max_drawdown
        reason = f"equity {equity:.2f} is {lost:.1%} below {peak:.2f}; the limit is {limit:.1%}: reduce-only"
        return [Refusal("drawdown", reason, sleeves)]

    def ruin(self, equities: Sequence[float], sleeves: tuple[str, ...]) -> list[Refusal]:
        """Refuse every sleeve that has no equity left, which closes the sleeve."""
        rows = [row for row, equity in enumerate(equities) if not equity > 0]
        if not rows:
            return []
        least = min(equities[row] for row in rows)
        reason = f"equity is {least:,.2f}: nothing is left; what is held is sold and nothing is bought"
        return [Refusal("ruin", reason, tuple(sleeves[row] for row in rows))]

    def disputes(self, disputed: Sequence[str], sleeves: tuple[str, ...]) -> list[Refusal]:
        """Refuse purchases of symbols whose bar the providers disagree about."""
        reason = "providers disagree about its bar and nothing could decide: reduce-only"
        return [Refusal("disputed", f"{symbol}: {reason}", sleeves, symbol) for symbol in disputed]

    def missed(self, age: timedelta, sleeves: tuple[str, ...]) -> list[Refusal]:
        """Refuse any order on a bar that is older than `max_bar_age`.

        A stalled feed delivers old bars, and so does a feed that is asked for bars of a time without trading.
        """
        limit = self.limits.max_bar_age
        if limit is None or age <= limit:
            return []
        return [Refusal("bar_age", f"missed: the bar is {age} old; the limit is {limit}: no order", sleeves)]

    def clock_skew(self, age: timedelta, sleeves: tuple[str, ...]) -> list[Refusal]:
        """Refuse purchases on a bar from the future.

        That is a bar that closes later than `max_bar_age` after the engine's clock. A feed whose clock runs
        ahead cannot be distinguished from one with invented bars.
        """
        limit = self.limits.max_bar_age
        if limit is None or -limit <= age:
            return []
        reason = f"the bar closes {-age} after the engine's clock; the limit is {limit}: reduce-only"
        return [Refusal("clock_skew", reason, sleeves)]

    def clip(
        self,
        wanted: Matrix,
        current: Matrix,
        sleeves: Sequence[str],
        symbols: Sequence[str],
        reduce_only: npt.NDArray[np.bool_],
    ) -> tuple[Matrix, list[Refusal]]:
        """Clip `wanted` weights to the limits, `[sleeves, symbols]`, and list what was cut.

        `reduce_only` is by sleeve, `[sleeves]`, or by sleeve and symbol, `[sleeves, symbols]`.

        See `alphaloop.decision.book_limits.clip_weights` for the order of the limits.
        """
        held = reduce_only[:, None] if reduce_only.ndim == 1 else reduce_only
        cap, gross = name_cap(self.limits.max_weight, len(symbols)), self.limits.max_gross
        wanted = reduce_to_held(wanted, current, held)
        refusals = self._over_name_cap(wanted, cap, sleeves, symbols)
        refusals += self._over_gross(np.minimum(wanted, cap), sleeves)
        return clip_weights(wanted, current, cap, gross), refusals

    def _over_name_cap(
        self, wanted: Matrix, cap: float, sleeves: Sequence[str], symbols: Sequence[str]
    ) -> list[Refusal]:
        refusals = []
        for index in np.flatnonzero((wanted > cap).any(axis=0)).tolist():
            rows = np.flatnonzero(wanted[:, index] > cap).tolist()
            most = wanted[rows, index].max()
            reason = f"{symbols[index]} would be {most:.1%} of a sleeve; the cap is {cap:.1%}"
            refusals.append(Refusal("max_weight", reason, tuple(sleeves[r] for r in rows), symbols[index]))
        return refusals

    def _over_gross(self, wanted: Matrix, sleeves: Sequence[str]) -> list[Refusal]:
        gross = wanted.sum(axis=1)
        rows = np.flatnonzero(gross > self.limits.max_gross * (1 + GROSS_TOLERANCE)).tolist()
        if not rows:
            return []
        reason = f"gross would be {gross[rows].max():.1%}; the limit is {self.limits.max_gross:.1%}"
        return [Refusal("max_gross", reason, tuple(sleeves[r] for r in rows))]
