"""Window of bars: the newest bars of a history, of which only so many are held in memory."""

from __future__ import annotations

from collections.abc import Callable

from alphaloop.bars import BarPanel, Slice
from alphaloop.errors import InputError

MIN_BARS = 2


class BarWindow:
    """The newest bars of a growing history.

    Adding a bar costs the same however many there were, and memory is bounded: at most twice `size` bars are
    held. Control judges on a window, because features follow their own streams; whoever needs all bars reads
    them with `whole`, as a rollout's first bar does.

    Parameters
    ----------
    history : BarPanel
        Bars before the first that is added; only its last `size` are kept.
    size : int
        Bars that `panel` returns, where there are as many.
    load : callable, optional
        Reads the whole history from where it is stored, up to the last bar added; without it, the window is
        all there is.

    Raises
    ------
    InputError
        For a size below two bars.
    """

    def __init__(self, history: BarPanel, size: int, load: Callable[[], BarPanel] | None = None) -> None:
        if size < MIN_BARS:
            raise InputError(f"a window of {size} bars is too short; give at least {MIN_BARS}")
        self._size, self._load = size, load
        self._panel = _last(history, size)
        self._added: list[Slice] = []

    def add(self, bars: Slice) -> None:
        """Add the newest bar."""
        self._added.append(bars)
        if len(self._added) >= self._size:
            self._panel, self._added = self.panel(), []

    def panel(self) -> BarPanel:
        """Return the newest bars, `size` of them where there are as many."""
        if not self._added:
            return self._panel
        return _last(self._panel.then(BarPanel.from_slices(self._added)), self._size)

    def whole(self) -> BarPanel:
        """Return all bars, read from where they are stored."""
        return self._load() if self._load is not None else self.panel()

    @property
    def held(self) -> int:
        """Number of bars in memory."""
        return len(self._panel) + len(self._added)


def _last(panel: BarPanel, size: int) -> BarPanel:
    """Return the last `size` bars as a panel of its own, which keeps no earlier ones in memory."""
    if len(panel) <= size:
        return panel
    kept = panel.part(len(panel) - size, len(panel))
    return BarPanel.from_slices(list(kept.slices()))
