"""Thresholds of the quality rules."""

from __future__ import annotations

from dataclasses import dataclass, fields

from alphaloop.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits of the quality rules, and holidays.

    On the embedded data sets the defaults give warnings where something was indeed unusual (Apple on
    29 September 2000, Merck on 30 September 2004), and no error.

    Raises
    ------
    InputError
        For a limit that is not positive.

    Examples
    --------
    >>> from marketdata.quality.thresholds import Thresholds
    >>> Thresholds(stuck_bars=5).stuck_bars
    5
    """

    gap_bars: float = 24
    """Missing bars in a row above which a gap in intraday bars is an error; fewer are a warning."""
    stuck_bars: float = 10
    """Minimum number of bars in a row with the same prices that is a finding."""
    outlier_window: float = 63
    """Bars before a bar from which its local scale is estimated."""
    outlier_history: float = 20
    """Bars needed before the first scale."""
    outlier_scales: float = 15.0
    """Robust standard deviations at which a return is a warning."""
    outlier_error_scales: float = 100.0
    """The same for an error: no market moves like that, a misplaced decimal point does."""
    outlier_floor: float = 2e-4
    """The smallest scale (a log return): below it a quiet hour would make every tick an outlier."""
    split_tolerance: float = 0.02
    """Maximum relative distance of a price ratio from that of a split."""
    split_scales: float = 10.0
    """Minimum size of a split-like jump, in robust standard deviations."""
    split_turnover: float = 6.0
    """Multiple of the usual turnover above which a jump is a true move: a split day trades as usual."""
    stale_bars: float = 3
    """Open market time since the last bar above which a feed is stale, in bars."""
    skew_seconds: float = 60.0
    """Maximum lead of a bar over our clock, and of the venue's clock over ours either way, in seconds."""
    holidays: tuple[str, ...] = ()
    """Days (as 2019-01-31) on which the market was closed despite its calendar: `data.holidays`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "holidays":
                continue
            if not value > 0:
                raise InputError(f"quality threshold '{field.name}' is {value}; it must be positive")
