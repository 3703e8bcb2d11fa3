"""Windows of all feature sets that one streamer updates: the settings' own and further ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime

from alphaloop.bars import BarPanel, Slice
from alphaloop.errors import AlphaloopError, DataError
from features.store.window_stream import FeatureSpec, WindowStream, window_key
from features.store.windows import WindowKey

log = logging.getLogger(__name__)


class WindowStreams:
    """`main` windows, and `further` ones of `rows` rows by feature set and universe.

    An indicator of one version must not block the inputs of the others: a set that fails is left out and
    logged once, for as long as it is requested.
    """

    def __init__(
        self, main: WindowStream, rows: int, further: Sequence[FeatureSpec], history: BarPanel
    ) -> None:
        self.main, self._rows = main, rows
        self._left_out: set[WindowKey] = set()
        self._wanted = self._others(further)
        self.further = self._begun(self._wanted, history)

    def __iter__(self) -> Iterator[WindowStream]:
        return iter((self.main, *self.further.values()))

    @property
    def last(self) -> datetime | None:
        """Timestamp of the last bar; None before the first."""
        return self.main.last

    def plan(
        self, further: Sequence[FeatureSpec], history: Callable[[], BarPanel]
    ) -> dict[WindowKey, WindowStream]:
        """Return the further windows to update from now on if `further` is requested; changes nothing yet.

        Windows no longer requested are kept for one more bar. Raises `DataError` for a history that ends
        elsewhere.
        """
        wanted, before = self._others(further), self._wanted
        held = {made: one for made, one in self.further.items() if made in wanted or made in before}
        self._left_out &= wanted.keys()
        fresh = {made: one for made, one in wanted.items() if made not in held and made not in self._left_out}
        if fresh:
            past = history()
            ends = past.at(len(past) - 1).timestamp if len(past) else None
            if ends != self.last:
                raise DataError(
                    f"history for further windows ends with {ends}, and the windows with {self.last}"
                )
            held |= self._begun(fresh, past)
        self._wanted = wanted
        return held

    def keep_only(self, made: Collection[WindowKey]) -> None:
        """Drop all further windows except those of `made`."""
        self.further = {one: stream for one, stream in self.further.items() if one in made}

    def update(self, bars: Slice) -> None:
        """Update by one bar, as `WindowStream.update` does."""
        self.main.update(bars)
        for made, one in tuple(self.further.items()):
            try:
                one.update(bars)
            except DataError:
                raise
            except Exception as error:  # noqa: BLE001 - told, and of one set alone
                self._leave_out(made, error)
                self.keep_only(self.further.keys() - {made})

    def _others(self, further: Sequence[FeatureSpec]) -> dict[WindowKey, FeatureSpec]:
        """Return the requested sets that are not the settings' own."""
        named = {window_key(*one): one for one in further}
        named.pop(self.main.made, None)
        return named

    def _begun(
        self, further: Mapping[WindowKey, FeatureSpec], history: BarPanel
    ) -> dict[WindowKey, WindowStream]:
        """Build windows of the sets after `history`."""
        begun: dict[WindowKey, WindowStream] = {}
        for made, (features, universe) in further.items():
            try:
                begun[made] = WindowStream(features, universe, history, self._rows)
            except Exception as error:  # noqa: BLE001 - told, and of one set alone
                self._leave_out(made, error)
        return begun

    def _leave_out(self, made: WindowKey, error: Exception) -> None:
        self._left_out.add(made)
        log.warning(
            "windows of feature set %s are not written: %s", made.feature_set[:12], error,
            exc_info=None if isinstance(error, AlphaloopError) else error,
        )  # fmt: skip
