"""Limits of a book: the cap a name, the gross of all, and the loss after which nothing is bought.

The gate, the rollout's paper books, backtest and trading clip the weights they want by these functions, so
that the book that is judged is the book that trades.
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
DEFAULT_SPREAD = 2.5
"""How often the weight of an equal share a name may have by default, where that is above 15 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLimits:
    """Limits of one book, as shares of its equity; drawdown is that from its highest equity.

    `max_weight` of None stands for the default, which depends on the number of names.
    """

    max_gross: float = 1.0
    max_weight: float | None = None
    max_drawdown: float = 0.40

    @classmethod
    def from_settings(cls, settings: TradingSettings) -> BookLimits:
        """The limits that `settings.trading` sets."""
        return cls(
            max_gross=settings.max_gross,
            max_weight=settings.max_weight,
            max_drawdown=settings.max_drawdown,
        )

    def clip(self, wanted: Weights, current: Weights, reduce_only: npt.ArrayLike = False) -> Weights:
        """The weights allowed of those `wanted`, both `[..., symbols]`; see `clip_weights`."""
        cap = name_cap(self.max_weight, wanted.shape[-1])
        return clip_weights(wanted, current, cap, self.max_gross, reduce_only)


def name_cap(max_weight: float | None, names: int) -> float:
    """The cap a name: `max_weight` where it is set, else `max(0.15, min(1, 2.5 / names))`.

    The default leaves room for a book of few names, which 15 % each would keep in cash.
    """
    if max_weight is not None:
        return max_weight
    return max(DEFAULT_MAX_WEIGHT, min(1.0, DEFAULT_SPREAD / max(names, 1)))


def reduce_to_held(wanted: Weights, current: Weights, reduce_only: npt.ArrayLike) -> Weights:
    """`wanted` where positions may grow; where `reduce_only`, no more than is held and not below zero."""
    return np.where(reduce_only, np.clip(wanted, 0.0, np.maximum(current, 0.0)), wanted)


def clip_weights(
    wanted: Weights,
    current: Weights,
    max_weight: float,
    max_gross: float,
    reduce_only: npt.ArrayLike = False,
) -> Weights:
    """The weights allowed of those `wanted`, both `[..., symbols]`.

    Reduce-only first, then the cap a name (a holding above it is sold down to it), then gross: purchases
    shrink until the sum fits, so drift above the limit never forces sales. `reduce_only` is a flag, or an
    array that broadcasts against the weights.
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


def unfilled(limits: Any, names: int) -> str:
    """One line on a cap that leaves part of the book in cash; empty where it does not.

    `limits` has `max_weight` (None for the default) and `max_gross`.
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
