"""Rule `split`: prices that jump by a ratio such as 1:2, while no corporate action is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from features.quality_rules.finding import Finding
from features.quality_rules.rows import Flags, Floats, Places, Rows
from features.quality_rules.scale import adjusted_closes, deviations
from features.quality_rules.thresholds import Thresholds

RATIOS = ((5, 4), (4, 3), (3, 2), *((whole, 1) for whole in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50, 100)))
FORWARD = np.array([old / new for new, old in RATIOS])
ALL = np.r_[FORWARD, 1 / FORWARD]
NAMES = [f"{new}:{old}" for new, old in RATIOS] + [f"{old}:{new}" for new, old in RATIOS]
# From this ratio on (either way) an opening price that agrees leaves no doubt.
CERTAIN = 2.0


def jumps(rows: Rows, thresholds: Thresholds) -> Iterator[Finding]:
    """Jumps near a split's ratio where the adjustment does not change.

    An error where the opening price jumped by the same ratio of at least two, as it does at a split
    and hardly ever otherwise; else a warning.
    """
    for _, places in rows.groups:
        if len(places) < 2:
            continue
        prices = adjusted_closes(rows, places)
        away, scale = deviations(prices, thresholds)
        with np.errstate(over="ignore"):
            ratio = np.r_[np.nan, prices[1:] / prices[:-1]]
        nearest = _nearest(ratio)
        near = np.abs(ratio / ALL[nearest] - 1) <= thresholds.split_tolerance
        usual = away < thresholds.split_scales * scale
        for place in np.flatnonzero(near & ~usual & _unrecorded(rows, places)).tolist():
            wanted = ALL[nearest[place]]
            certain = max(wanted, 1 / wanted) >= CERTAIN and _opened_there(
                rows, places, place, wanted, thresholds
            )
            value = (
                f"the price changes by the factor {ratio[place]:.4g}, as in a {NAMES[nearest[place]]} split, "
                "and the adjustment does not"
            )
            yield rows.finding("split", int(places[place]), value, "error" if certain else "warning")


def _nearest(ratio: Floats) -> Places:
    known = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)
    nearest: Places = np.abs(np.log(known)[:, None] - np.log(ALL)[None]).argmin(axis=1)
    return nearest


def _unrecorded(rows: Rows, places: Places) -> Flags:
    factor = rows.column("adjustment")[0][places]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        same: Flags = np.r_[False, np.abs(factor[1:] / factor[:-1] - 1) < 1e-6]
    return same


def _opened_there(rows: Rows, places: Places, place: int, wanted: float, thresholds: Thresholds) -> bool:
    opened = rows.column("open")[0][places[place]]
    before = rows.column("close")[0][places[place - 1]]
    return bool(abs(opened / before - wanted) <= 2 * thresholds.split_tolerance * wanted)
