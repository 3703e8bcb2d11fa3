"""Read feature windows of exactly one bar, for serving."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self

from alphaloop.bars import to_datetime, to_datetime64
from alphaloop.clock import as_utc, monotonic
from alphaloop.errors import AlphaloopError, MissingStateError
from alphaloop.runtime.file_lock import exclusive_lock
from alphaloop.settings.settings import Settings
from features.store.feast.connection import (
    BUILD_HINT,
    REGISTRY_FILE,
    feast_definitions,
    open_feast,
    translated_feast,
)
from features.store.feast.view_names import ONLINE_FEATURES, ONLINE_VIEW, further_view
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.windows import OnlineWindows, StoredWindow, WindowKey, select_windows, unpack_window

__all__ = ["OnlineReader", "OnlineWindows"]

log = logging.getLogger(__name__)

DEFAULT_CACHED_READS = 64
# Seconds between two searches for windows that were missing.
RECHECK_SECONDS = 1.0


class OnlineReader:
    """Thread-safe reader of feature windows from the online store, opened at the first read.

    Parameters
    ----------
    folder : Path
        Folder of Feast's registry and of the SQLite store.
    online : str or OnlineAddress, default "sqlite"
        Online store: `sqlite`, or `redis://host:port/db`; see `features.store.online_address`.
    cached_reads : int, default 64
        Number of recent reads to keep.

    Raises
    ------
    InputError
        For an address that cannot be read.
    """

    def __init__(
        self, folder: Path, online: str | OnlineAddress = SQLITE, cached_reads: int = DEFAULT_CACHED_READS
    ) -> None:
        self._folder, self._online = Path(folder), online_address(online)
        self._cached_reads = cached_reads
        self._lock = Lock()
        self._recent: OrderedDict[tuple[Any, ...], OnlineWindows | MissingStateError] = OrderedDict()
        self._views: set[str] = set()
        self._looked: dict[WindowKey | None, float] = {}

    @classmethod
    def from_settings(cls, settings: Settings, cached_reads: int = DEFAULT_CACHED_READS) -> Self:
        """Return a reader of the online store that the settings name."""
        return cls(settings.paths.feast, settings.features.online, cached_reads)

    def read(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        lookback: int,
        feature_set: str = "",
        universe: str = "",
    ) -> OnlineWindows:
        """Return the windows of exactly one bar.

        Parameters
        ----------
        symbols : sequence of str
            Symbols, in the order of the result. A symbol is masked if it is absent, has another bar than the
            rest, or has no values.
        as_of : datetime
            Close of the bar, with a time zone.
        lookback : int
            Rows of a window, the last being that of `as_of`.
        feature_set : str, default ""
            Hash of the wanted feature set; empty for that of the settings.
        universe : str, default ""
            Hash of the universe over which cross-sectional features are wanted.

        Returns
        -------
        OnlineWindows
            Windows with their lineage. If there are none of the wanted set and universe, those of the
            settings' set: the caller must check, as by `OnlineWindows.made_of`.

        Raises
        ------
        StaleFeaturesError
            If no symbol has a window of `as_of`; the error names the age of the newest.
        MissingStateError
            If there is no store, or it keeps fewer rows than `lookback`.
        DamagedStoreError
            If a stored window cannot be unpacked.
        VendorError
            If Redis cannot be reached.
        """
        as_of, made = as_utc(as_of), WindowKey(feature_set, universe) if feature_set else None
        key = (as_of, tuple(symbols), lookback, made)
        with self._lock:
            result = self._recent.get(key)
            if result is not None and (_matches_request(result, made) or self._has_looked(made)):
                self._recent.move_to_end(key)
            else:
                result = self._read(key[1], as_of, lookback, made)
                self._recent[key] = result
                if len(self._recent) > self._cached_reads:
                    self._recent.popitem(last=False)
        if isinstance(result, MissingStateError):
            raise result
        return result

    def stored(self, symbols: Sequence[str]) -> dict[str, StoredWindow]:
        """Return the stored windows of `symbols`, at any bar; absent symbols are omitted."""
        with self._lock:
            return self._fetch(tuple(symbols))

    def _read(
        self, symbols: tuple[str, ...], as_of: datetime, lookback: int, made: WindowKey | None
    ) -> OnlineWindows | MissingStateError:
        """Read as `read` does, but check for missing rows at most every `RECHECK_SECONDS`."""
        look = not self._has_looked(made)
        stored = self._stored(symbols, as_of, made, look=look)
        try:
            return select_windows(stored, symbols, as_of, lookback, made)
        except MissingStateError as error:
            if look:
                self._looked[made] = monotonic()
            return error

    def _stored(
        self, symbols: tuple[str, ...], as_of: datetime, made: WindowKey | None, *, look: bool
    ) -> dict[str, StoredWindow]:
        """Return the stored windows of `symbols` from the view with most matches for `made` at `as_of`."""
        stored = self._fetch(symbols)
        right = _count(stored, as_of, made)
        if made is None or (right and right == _count(stored, as_of, None)):
            return stored
        views, best = self._further(made, look=look), stored
        if look:
            self._looked[made] = monotonic()
        for view in views:
            # A view may have been deleted since the registry was read, when no version needed it any more.
            with suppress(MissingStateError):
                candidates = self._fetch(symbols, view)
                if _count(candidates, as_of, made) > right or not any(
                    made.matches(one) for one in best.values()
                ):
                    best, right = candidates or best, _count(candidates, as_of, made)
        return best

    def _has_looked(self, made: WindowKey | None) -> bool:
        """Return whether missing windows were searched for within `RECHECK_SECONDS`."""
        looked = self._looked.get(made)
        return looked is not None and monotonic() - looked < RECHECK_SECONDS

    def _further(self, made: WindowKey, *, look: bool) -> list[str]:
        """Return the views that may hold windows identified by `made`.

        A set that ranks nothing names no universe. `look` refreshes the list of views from Feast.
        """
        wanted = list(dict.fromkeys(map(further_view, (made, WindowKey(made.feature_set)))))
        if self._online.remote:
            # The writer has another registry, so views are defined here and Redis decides what exists.
            for view in wanted:
                if view not in self._views:
                    self._define(view)
                    self._views.add(view)
            return wanted
        if look:
            try:
                with translated_feast(self._folder, self._online):
                    self._feast.refresh_registry()
                    self._views = {view.name for view in self._feast.list_feature_views()}
            except AlphaloopError as error:
                log.warning("it cannot be looked for windows of other feature sets: %s", error)
        return [view for view in wanted if view in self._views]

    @cached_property
    def _feast(self) -> Any:
        if not (self._folder / REGISTRY_FILE).is_file():
            if not self._online.remote:
                raise MissingStateError(f"there is no feature store in {self._folder}; {BUILD_HINT}")
            self._define(ONLINE_VIEW)
        return open_feast(self._folder, self._online)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Fields that can be read; stores defined by the previous release have fewer."""
        feast = self._feast
        with translated_feast(self._folder, self._online):
            known = {field.name for field in feast.get_feature_view(ONLINE_VIEW).schema}
        return tuple(name for name in ONLINE_FEATURES if name in known)

    def _define(self, view: str) -> None:
        """Register a view of windows in Redis, because the machine that writes them has another registry."""
        with exclusive_lock(self._folder / "apply.lock"), translated_feast(self._folder, self._online):
            unread = str(self._folder.resolve() / "windows.parquet")
            store = self.__dict__.get("_feast") or open_feast(self._folder, self._online)
            told = feast_definitions()
            store.apply([told.symbol_entity(), told.online_view(unread, view)])

    def _fetch(self, symbols: tuple[str, ...], view: str = "") -> dict[str, StoredWindow]:
        feast, names = self._feast, ONLINE_FEATURES if view else self._names
        with translated_feast(self._folder, self._online):
            response = feast.get_online_features(
                features=[f"{view or ONLINE_VIEW}:{name}" for name in names],
                entity_rows=[{"symbol": symbol} for symbol in symbols],
            ).proto
        columns = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        windows = {}
        for row, symbol in enumerate(symbols):
            packed = columns["window"].values[row].bytes_val
            if packed:
                values, bar = unpack_window(packed)
                lineage = {name: columns[name].values[row].string_val for name in names if name != "window"}
                windows[symbol] = StoredWindow(to_datetime(bar), values, **lineage)
        return windows


def _matches_request(known: OnlineWindows | MissingStateError, made: WindowKey | None) -> bool:
    """Return whether these are the requested windows."""
    return not isinstance(known, MissingStateError) and (made is None or made.matches(known))


def _count(stored: dict[str, StoredWindow], as_of: datetime, made: WindowKey | None) -> int:
    """Count the windows at `as_of` that match `made`."""
    moment = to_datetime64(as_of)
    return sum(
        (made is None or made.matches(one)) and to_datetime64(one.bar) == moment for one in stored.values()
    )
