"""From where on something is a finding."""

from __future__ import annotations

from dataclasses import dataclass, fields

from alphaloop.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits of the rules, and holidays. `InputError` names a limit that is not positive.

    On the embedded data sets the defaults give warnings where something was indeed unusual (Apple on
    29 September 2000, Merck on 30 September 2004), and no error.
    """

    gap_bars: float = 24
    """Missing bars in a row above which a hole in intraday bars is an error; fewer are a warning."""
    stuck_bars: float = 10
    """Bars in a row with the same prices from which on they are a finding."""
    outlier_window: float = 63
    """Bars before a bar that its local scale comes from."""
    outlier_history: float = 20
    """Bars needed before the first scale."""
    outlier_scales: float = 15.0
    """Robust standard deviations of the return from which on it is a warning."""
    outlier_error_scales: float = 100.0
    """The same for an error: no market moves like that, a misplaced decimal point does."""
    outlier_floor: float = 2e-4
    """The smallest scale (a log return): below it a quiet hour would make every tick an outlier."""
    split_tolerance: float = 0.02
    """How near a price ratio lies to that of a split, relative to it."""
    split_scales: float = 10.0
    """Robust standard deviations that a split-like jump has at least."""
    split_turnover: float = 6.0
    """Times the usual turnover above which a jump is taken for a true move: a split is a usual day."""
    stale_bars: float = 3
    """Bars that the market has been open for since the last one, from which on a feed is stale."""
    skew_seconds: float = 60.0
    """How far a bar may lie ahead of our clock, and the venue's clock from ours."""
    holidays: tuple[str, ...] = ()
    """Days (as 2019-01-31) on which the market was closed, whatever its calendar says: `data.holidays`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "holidays":
                continue
            if not value > 0:
                raise InputError(f"quality threshold '{field.name}' is {value}; it must be positive")
