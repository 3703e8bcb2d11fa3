"""Trade flow: the side of aggressive orders, and how one-sided trading is.

Columns `buy_volume` and `sell_volume` of the bars (volume by the side that took liquidity) are used if
present; otherwise volume is split by the size of the price move (bulk volume classification).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt

from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values
from features.engine.arithmetic.parameters import require_bars, require_positive
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive, State
from features.engine.operators.window import Window

GROUP = "trade flow"
SIDES = ("buy_volume", "sell_volume")
BULK = "Easley, López de Prado and O'Hara 2012"


@indicator(SIDES, group=GROUP)
def trade_imbalance(length: int = 1) -> Operator:
    """Bought less sold over both, of the last `length` bars, from -1 to 1; 0 if nothing traded."""
    return Window(_imbalance, require_bars("length", length))


@indicator(SIDES, group=GROUP, reference="Easley et al. 1996")
def trade_toxicity(length: int = 50) -> Operator:
    """Sum of |bought - sold| over all volume of the last `length` bars, 0 to 1: VPIN of known trades."""
    return Window(_toxicity, require_bars("length", length))


@indicator(("close", *SIDES), group=GROUP, reference="Kyle 1985")
def trade_impact(length: int = 60) -> Operator:
    """Kyle's lambda of known trades: the slope of the close's change on bought less sold volume.

    In price per unit; NaN if the flow never varied. Kyle, "Continuous auctions and insider trading",
    Econometrica 53 (1985).
    """
    return Window(_impact, require_bars("length", length, 2) + 1)


@indicator(("volume", *SIDES), group=GROUP)
def bought_share() -> Operator:
    """Share of the bar's volume that was bought, 0 to 1; a half if nothing traded."""
    return Window(_bought_share, 1)


@indicator(group=GROUP, reference=BULK)
def bulk_buy_share(length: int = 50) -> Operator:
    """Share of the bar's volume classified as bought by bulk volume classification, 0 to 1.

    Phi(change / sigma) of the close's change, sigma its standard deviation over the last `length` changes; a
    half if prices are constant. Easley, López de Prado and O'Hara, "Flow toxicity and liquidity in a
    high-frequency world", Review of Financial Studies 25 (2012).
    """
    return Window(_bulk_buy_share, require_bars("length", length, 2) + 1)


@indicator(("bulk_buy_share", "volume"), group=GROUP, reference=BULK)
def vpin(length: int = 50) -> Operator:
    """VPIN with every bar as a bucket, 0 to 1: an approximation, exact if bars hold equal volume.

    The sum of |bought - sold| over all volume of the last `length` bars, split by bulk classification; 0 if
    nothing traded. See `vpin_buckets` for buckets of equal volume.
    """
    return Window(_vpin, require_bars("length", length))


@indicator(("bulk_buy_share", "volume"), group=GROUP, reference=BULK)
def vpin_buckets(bucket: float = 1e6, buckets: int = 50) -> Operator:
    """VPIN over the last `buckets` true buckets of `bucket` units of volume each, 0 to 1.

    A bar's volume, split by bulk classification, fills the open bucket and as many more as it takes. NaN
    until `buckets` are full. The authors take a fiftieth of a day's volume for a bucket.
    """
    require_positive("bucket", bucket)
    start = partial(_start_buckets, buckets=require_bars("buckets", buckets))
    return Recursive(start, partial(_fill_buckets, bucket=bucket))


def _imbalance(bought: Values, sold: Values) -> Values:
    return ratio((bought - sold).sum(axis=-1), (bought + sold).sum(axis=-1), 0.0)


def _toxicity(bought: Values, sold: Values) -> Values:
    return ratio(np.abs(bought - sold).sum(axis=-1), (bought + sold).sum(axis=-1), 0.0)


def _impact(close: Values, bought: Values, sold: Values) -> Values:
    return moments.regression_slope(close[..., 1:] - close[..., :-1], (bought - sold)[..., 1:])


def _bought_share(volume: Values, bought: Values, sold: Values) -> Values:
    return ratio(bought, bought + sold, 0.5)[..., -1]


def _bulk_buy_share(close: Values) -> Values:
    changes = close[..., 1:] - close[..., :-1]
    return _normal(ratio(changes[..., -1], np.sqrt(moments.window_variance(changes)), 0.0))


def _vpin(share: Values, volume: Values) -> Values:
    return ratio((volume * np.abs(2 * share - 1)).sum(axis=-1), volume.sum(axis=-1), 0.0)


_error_function = np.frompyfunc(math.erf, 1, 1)


def _normal(values: Values) -> Values:
    """Evaluate the standard normal distribution function."""
    found: Values = 0.5 + 0.5 * np.asarray(_error_function(values / math.sqrt(2)), dtype=np.float64)
    return found


def _start_buckets(symbols: int, buckets: int) -> State:
    """Return net volume and volume of the open bucket, and the imbalance of each full bucket."""
    return np.zeros(symbols), np.zeros(symbols), np.full((symbols, buckets), np.nan)


def _fill_buckets(
    state: State, inputs: tuple[Values, ...], bucket: float
) -> tuple[State, tuple[Values, ...]]:
    signed, filled, full = state
    share, volume = 2 * inputs[0] - 1, inputs[1]
    count = np.floor((filled + volume) / bucket)
    flows = count > 0
    completed = signed + share * (bucket - filled)
    rest = np.maximum(filled + volume - count * bucket, 0.0)
    full = _shifted(full, count, np.abs(completed) / bucket, np.abs(share))
    signed = np.where(flows, share * rest, signed + share * volume)
    # The order of this sum is fixed, however many symbols there are.
    total = np.cumsum(full, axis=1)[:, -1]
    return (signed, rest, full), (total / full.shape[1],)


def _shifted(full: Values, count: Values, completed: Values, whole: Values) -> Values:
    """Append `count` full buckets to the last ones: the first is `completed`, the others `whole`."""
    size = full.shape[1]
    new = np.nan_to_num(np.minimum(count, size + 1)).astype(np.int64)[:, None]
    place: npt.NDArray[np.int64] = np.arange(size)[None, :] + new
    kept = np.take_along_axis(full, np.minimum(place, size - 1), axis=1)
    found: Values = np.where(place < size, kept, np.where(place == size, completed[:, None], whole[:, None]))
    return found
