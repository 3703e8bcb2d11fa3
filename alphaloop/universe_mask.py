"""Point-in-time membership in bars: the column `member`, and the symbols outside the universe at a bar.

Bars of a source with a universe have the extra column `member`: 1 where the symbol was a known member at the
close, 0 where it was not. Bars without that column belong to a universe that never changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, Slice

MEMBER_COLUMN = "member"
Flags = npt.NDArray[np.bool_]


def outside_universe(bars: BarPanel | Slice) -> Flags | None:
    """Return True for each bar whose symbol was not a member of the universe.

    Parameters
    ----------
    bars : BarPanel or Slice
        Bars of T timestamps and N symbols, or of one timestamp.

    Returns
    -------
    ndarray of bool, shape [timestamps, symbols] or [symbols], or None
        False where a symbol has no bar; None where the bars name no members.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.bars import BarPanel
    >>> close = np.ones((2, 1))
    >>> times = np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[ns]")
    >>> bars = BarPanel(times, ("A",), close, close, close, close, close, close)
    >>> outside_universe(bars) is None
    True
    """
    member = bars.extra.get(MEMBER_COLUMN)
    return None if member is None else np.asarray(member == 0.0)
