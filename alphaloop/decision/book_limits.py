"""Limits of a book: weight cap per symbol, gross exposure, and drawdown.

The promotion gate, the paper books of a rollout, backtest and trading clip their target weights by these
functions, so that the book that is evaluated is the book that trades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from alphaloop.settings.trading import TradingSettings

Weights = npt.NDArray[np.float64]

DEFAULT_MAX_WEIGHT = 0.15
"""Default cap of one symbol's weight, as a share of equity."""
DEFAULT_EQUAL_WEIGHT_MULTIPLE = 2.5
"""Default cap as a multiple of equal weight, where that is above 15 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLimits:
    """Limits of one book, as shares of its equity.

    Parameters
    ----------
    max_gross : float
        Largest sum of weights.
    max_weight : float, optional
        Largest weight of one symbol; None for the default, which depends on the number of symbols
        (`name_cap`).
    max_drawdown : float
        Loss from the highest equity after which nothing is bought.

    Examples
    --------
    >>> import numpy as np
    >>> BookLimits(max_weight=0.4).clip(np.array([0.7, 0.3]), np.zeros(2)).tolist()
    [0.4, 0.3]
    """

    max_gross: float = 1.0
    max_weight: float | None = None
    max_drawdown: float = 0.40

    @classmethod
    def from_settings(cls, settings: TradingSettings) -> BookLimits:
        """Return the limits that `settings.trading` describes."""
        return cls(
            max_gross=settings.max_gross,
            max_weight=settings.max_weight,
            max_drawdown=settings.max_drawdown,
        )

    def clip(self, wanted: Weights, current: Weights, reduce_only: npt.ArrayLike = False) -> Weights:
        """Clip the target weights `wanted` to the limits, both `[..., symbols]`; see `clip_weights`.

        `reduce_only` is bool, `[symbols]` or a scalar: no position of it may grow. The result is
        `[..., symbols]`.
        """
        cap = name_cap(self.max_weight, wanted.shape[-1])
        return clip_weights(wanted, current, cap, self.max_gross, reduce_only)


def name_cap(max_weight: float | None, names: int) -> float:
    """Return the cap per symbol: `max_weight` if set, else `max(0.15, min(1, 2.5 / names))`.

    The default allows for a book of few symbols, which would stay in cash at 15 % each.
    """
    if max_weight is not None:
        return max_weight
    return max(DEFAULT_MAX_WEIGHT, min(1.0, DEFAULT_EQUAL_WEIGHT_MULTIPLE / max(names, 1)))


def reduce_to_held(wanted: Weights, current: Weights, reduce_only: npt.ArrayLike) -> Weights:
    """Forbid positions to grow where `reduce_only`: no more than is held, and not below zero.

    Elsewhere `wanted` is returned as it is.
    """
    return np.where(reduce_only, np.clip(wanted, 0.0, np.maximum(current, 0.0)), wanted)


def clip_weights(
    wanted: Weights,
    current: Weights,
    max_weight: float,
    max_gross: float,
    reduce_only: npt.ArrayLike = False,
) -> Weights:
    """Clip target weights to the limits of a book, `[..., symbols]`.

    Reduce-only applies first, then the cap per symbol (a holding above the cap is sold down to it), then
    gross: purchases shrink until the sum fits, so that drift above the limit never forces sales.
    `reduce_only` is a flag, or an array that broadcasts against the weights.
    """
    allowed = np.minimum(reduce_to_held(wanted, current, reduce_only), max_weight)
    rise = np.maximum(allowed - current, 0.0)
    kept = np.minimum(allowed, current)
    room = np.maximum(max_gross - kept.sum(axis=-1, keepdims=True), 0.0)
    asked = rise.sum(axis=-1, keepdims=True)
    over = asked > room
    if not over.any():
        return allowed
    scale = np.where(over, room / np.where(over, asked, 1.0), 1.0)
    return np.where(over, kept + rise * scale, allowed)


def unfilled_cash_message(limits: Any, names: int) -> str:
    """Describe a cap that leaves part of the book in cash; empty where none does.

    `limits` has `max_weight` (None for the default) and `max_gross`. The description is one line, with the
    way out.
    """
    cap = name_cap(limits.max_weight, names)
    if cap * names >= limits.max_gross * (1 - 1e-9):
        return ""
    filling = limits.max_gross / names
    way_out = (
        f"trading.max_weight = {_rounded_up(filling)} would fill it"
        if filling <= 1
        else f"one name is at most the whole capital, so trading.max_gross cannot be above {names}"
    )
    return (
        f"{names} names at {cap:.4g} each (trading.max_weight) are at most {cap * names:.1%} of the capital, "
        f"and trading.max_gross is {limits.max_gross:.1%}: the rest stays in cash; {way_out}"
    )


def _rounded_up(weight: float) -> str:
    return f"{np.ceil(weight * 10_000) / 10_000:g}"
