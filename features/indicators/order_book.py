"""Order book features at the bar's close, from columns of the bars.

Columns `bid_price_1`, `bid_size_1`, `ask_price_1`, `ask_size_1` up to 5, level 1 being the best. A level that
a thin book lacks has size 0 and any price; a bar without a book (NaN) has no value.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values
from features.engine.arithmetic.parameters import require_bars, require_between
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.pointwise import Pointwise
from features.engine.operators.window import Window

GROUP = "order book"
LEVELS = 5
BEST_PRICES = ("bid_price_1", "ask_price_1")
BEST_SIZES = ("bid_size_1", "ask_size_1")
BEST = (*BEST_PRICES, *BEST_SIZES)
SIZES = tuple(f"{side}_size_{level}" for side in ("bid", "ask") for level in range(1, LEVELS + 1))
PRICES = tuple(f"{side}_price_{level}" for side in ("bid", "ask") for level in range(1, LEVELS + 1))


@indicator(BEST_SIZES, group=GROUP, reference="Cont, Kukanov and Stoikov 2014")
def book_imbalance() -> Operator:
    """Bid less ask over both, of the sizes at the best prices, from -1 to 1; 0 if the book is empty."""
    return Pointwise(_imbalance)


@indicator(SIZES, group=GROUP)
def depth_imbalance(levels: int = 5) -> Operator:
    """Bid less ask over both, of the sizes of the best `levels` levels, from -1 to 1; 0 if they are empty."""
    return Pointwise(partial(_depth_imbalance, levels=_require_levels(levels)))


@indicator(SIZES, ("bid", "ask"), group=GROUP)
def book_depth(levels: int = 5) -> Operator:
    """Total size of the best `levels` levels on each side."""
    return Pointwise(partial(_depth, levels=_require_levels(levels)), ("bid", "ask"))


@indicator(BEST, group=GROUP, reference="Gatheral and Oomen 2010")
def microprice() -> Operator:
    """Best prices, each weighted by the size on the other side: the expected price of the next trade.

    Gatheral and Oomen, "Zero-intelligence realized variance estimation", Finance and Stochastics 14 (2010).
    The midprice if both sizes are 0.
    """
    return Pointwise(_microprice)


@indicator(BEST, group=GROUP)
def microprice_premium() -> Operator:
    """Distance of the microprice from the midprice, in half-spreads: -1 to 1 (book_imbalance)."""
    return Pointwise(_microprice_premium)


@indicator(BEST_PRICES, group=GROUP)
def quoted_spread() -> Operator:
    """Best ask less best bid, as a share of their middle; negative if the book is crossed."""
    return Pointwise(_spread)


@indicator((*PRICES, *SIZES), ("bid", "ask"), group=GROUP, reference="Næs and Skjeltorp 2006")
def book_slope(levels: int = 5) -> Operator:
    """Growth of depth away from the midprice: size of the best `levels` levels over relative distance.

    Each side's total size over the size-weighted distance of its prices from the midprice, as a share of the
    midprice; steep books absorb orders. After Næs and Skjeltorp, "Order book characteristics and the
    volume-volatility relation", Journal of Financial Markets 9 (2006). NaN where a side is empty.
    """
    return Pointwise(partial(_slope, levels=_require_levels(levels)), ("bid", "ask"))


@indicator(BEST, group=GROUP, reference="Cont, Kukanov and Stoikov 2014")
def order_flow_imbalance(length: int = 10) -> Operator:
    """Net size added at the best bid less that at the best ask over the last `length` changes of the book.

    The sum of e_n of Cont, Kukanov and Stoikov, "The price impact of order book events", Journal of Financial
    Econometrics 12 (2014), over the mean size at the best prices; 0 if that is 0.
    """
    return Window(_flow, require_bars("length", length) + 1)


def _require_levels(levels: int) -> int:
    return int(require_between("levels", levels, 1, LEVELS))


def _imbalance(bid: Values, ask: Values) -> Values:
    return ratio(bid - ask, bid + ask, 0.0)


def _depth(*sizes: Values, levels: int) -> tuple[Values, Values]:
    bid, ask = sizes[0], sizes[LEVELS]
    for level in range(1, levels):
        bid, ask = bid + sizes[level], ask + sizes[LEVELS + level]
    return bid, ask


def _depth_imbalance(*sizes: Values, levels: int) -> Values:
    return _imbalance(*_depth(*sizes, levels=levels))


def _microprice(bid: Values, ask: Values, bid_size: Values, ask_size: Values) -> Values:
    middle = (bid + ask) / 2
    return middle + (ask - bid) / 2 * _imbalance(bid_size, ask_size)


def _microprice_premium(bid: Values, ask: Values, bid_size: Values, ask_size: Values) -> Values:
    return np.where(ask == bid, 0.0, _imbalance(bid_size, ask_size)) * np.sign(ask - bid)


def _spread(bid: Values, ask: Values) -> Values:
    return ratio(ask - bid, (bid + ask) / 2)


def _slope(*columns: Values, levels: int) -> tuple[Values, Values]:
    prices, sizes = columns[: 2 * LEVELS], columns[2 * LEVELS :]
    middle = (prices[0] + prices[LEVELS]) / 2
    sides = []
    for first in (0, LEVELS):
        size = moment = np.zeros_like(middle)
        for level in range(first, first + levels):
            size = size + sizes[level]
            moment = moment + sizes[level] * (np.abs(prices[level] - middle) / middle)
        sides.append(ratio(size, moment) * size)
    return sides[0], sides[1]


def _flow(bid: Values, ask: Values, bid_size: Values, ask_size: Values) -> Values:
    added = np.where(bid[..., 1:] >= bid[..., :-1], bid_size[..., 1:], 0.0)
    added = added - np.where(bid[..., 1:] <= bid[..., :-1], bid_size[..., :-1], 0.0)
    taken = np.where(ask[..., 1:] <= ask[..., :-1], ask_size[..., 1:], 0.0)
    taken = taken - np.where(ask[..., 1:] >= ask[..., :-1], ask_size[..., :-1], 0.0)
    size = (bid_size + ask_size).mean(axis=-1) / 2
    return ratio((added - taken).sum(axis=-1), size, 0.0)
