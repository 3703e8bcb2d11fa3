"""Reading windows for serving: of exactly the bar that is asked for."""

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
from alphaloop.settings.settings import Settings
from features.store.feast.connection import REGISTRY_FILE, REMEDY, definitions, open_feast, translated
from features.store.feast.view_names import ONLINE_FEATURES, ONLINE_VIEW, further_view
from features.store.online_address import SQLITE, OnlineAddress, online_address
from features.store.windows import Made, OnlineWindows, StoredWindow, select, unpack
from features.store.writer_lease import exclusive

__all__ = ["OnlineReader", "OnlineWindows"]

log = logging.getLogger(__name__)

CACHED_READS = 64
# How often, at most, it is looked again for windows that were not there.
LOOK_SECONDS = 1.0


class OnlineReader:
    """Reads windows from the online store; opened at the first read, usable from threads.

    The store is the file in `folder`, or the Redis that `online` names: see `features.store.online_address`.
    The last `cached_reads` are kept.
    """

    def __init__(
        self, folder: Path, online: str | OnlineAddress = SQLITE, cached_reads: int = CACHED_READS
    ) -> None:
        self._folder, self._online = Path(folder), online_address(online)
        self._cached_reads = cached_reads
        self._lock = Lock()
        self._recent: OrderedDict[tuple[Any, ...], OnlineWindows | MissingStateError] = OrderedDict()
        self._views: set[str] = set()
        self._looked: dict[Made | None, float] = {}

    @classmethod
    def from_settings(cls, settings: Settings, cached_reads: int = CACHED_READS) -> Self:
        """A reader of the online store that the settings name."""
        return cls(settings.paths.feast, settings.features.online, cached_reads)

    def read(
        self,
        symbols: Sequence[str],
        as_of: datetime,
        lookback: int,
        feature_set: str = "",
        universe: str = "",
    ) -> OnlineWindows:
        """The windows of exactly `as_of`, of the feature set, and over the universe, with these hashes.

        Where there are none such, those of the settings' set: who asks has to look what he was given. A
        symbol that is absent, stands at another bar than the rest or has no values is masked.
        Raises `StaleFeaturesError`, naming the age, if no symbol stands at `as_of`;
        `MissingStateError` if there is no store or fewer rows are kept than `lookback`; `VendorError` if
        Redis cannot be reached.
        """
        as_of, made = as_utc(as_of), Made(feature_set, universe) if feature_set else None
        key = (as_of, tuple(symbols), lookback, made)
        with self._lock:
            known = self._recent.get(key)
            if known is not None and (_are(known, made) or self._has_looked(made)):
                self._recent.move_to_end(key)
            else:
                known = self._read(key[1], as_of, lookback, made)
                self._recent[key] = known
                if len(self._recent) > self._cached_reads:
                    self._recent.popitem(last=False)
        if isinstance(known, MissingStateError):
            raise known
        return known

    def stored(self, symbols: Sequence[str]) -> dict[str, StoredWindow]:
        """What is stored of those `symbols` that are there, at whatever bar."""
        with self._lock:
            return self._fetch(tuple(symbols))

    def _read(
        self, symbols: tuple[str, ...], as_of: datetime, lookback: int, made: Made | None
    ) -> OnlineWindows | MissingStateError:
        """As `read`; that fewer rows are kept is found out once in a while, not with each request."""
        look = not self._has_looked(made)
        stored = self._stored(symbols, as_of, made, look=look)
        try:
            return select(stored, symbols, as_of, lookback, made)
        except MissingStateError as error:
            if look:
                self._looked[made] = monotonic()
            return error

    def _stored(
        self, symbols: tuple[str, ...], as_of: datetime, made: Made | None, *, look: bool
    ) -> dict[str, StoredWindow]:
        """What is stored of `symbols`, in the view that has most of those `made` so at `as_of`."""
        stored = self._fetch(symbols)
        right = _count(stored, as_of, made)
        if made is None or (right and right == _count(stored, as_of, None)):
            return stored
        views, best = self._further(made, look=look), stored
        if look:
            self._looked[made] = monotonic()
        for view in views:
            # A view may be gone since Feast was asked: no version in use needed it any more.
            with suppress(MissingStateError):
                found = self._fetch(symbols, view)
                if _count(found, as_of, made) > right or not any(made.of(one) for one in best.values()):
                    best, right = found or best, _count(found, as_of, made)
        return best

    def _has_looked(self, made: Made | None) -> bool:
        """Whether it was looked a moment ago for windows that were not there."""
        looked = self._looked.get(made)
        return looked is not None and monotonic() - looked < LOOK_SECONDS

    def _further(self, made: Made, *, look: bool) -> list[str]:
        """The views that may hold windows `made` so: a set that ranks nothing names no universe.

        `look` asks Feast anew what views there are.
        """
        wanted = list(dict.fromkeys(map(further_view, (made, Made(made.feature_set)))))
        if self._online.remote:
            # Who writes them has another registry: Redis itself knows what there is.
            for view in wanted:
                if view not in self._views:
                    self._define(view)
                    self._views.add(view)
            return wanted
        if look:
            try:
                with translated(self._folder, self._online):
                    self._feast.refresh_registry()
                    self._views = {view.name for view in self._feast.list_feature_views()}
            except AlphaloopError as error:
                log.warning("it cannot be looked for windows of other feature sets: %s", error)
        return [view for view in wanted if view in self._views]

    @cached_property
    def _feast(self) -> Any:
        if not (self._folder / REGISTRY_FILE).is_file():
            if not self._online.remote:
                raise MissingStateError(f"there is no feature store in {self._folder}; {REMEDY}")
            self._define(ONLINE_VIEW)
        return open_feast(self._folder, self._online)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What can be asked for: a store that the release before defined says less of each window."""
        feast = self._feast
        with translated(self._folder, self._online):
            known = {field.name for field in feast.get_feature_view(ONLINE_VIEW).schema}
        return tuple(name for name in ONLINE_FEATURES if name in known)

    def _define(self, view: str) -> None:
        """Tell Feast of windows in Redis: the machine that writes them has another folder."""
        with exclusive(self._folder / "apply.lock"), translated(self._folder, self._online):
            unread = str(self._folder.resolve() / "windows.parquet")
            store = self.__dict__.get("_feast") or open_feast(self._folder, self._online)
            told = definitions()
            store.apply([told.symbol(), told.online_view(unread, view)])

    def _fetch(self, symbols: tuple[str, ...], view: str = "") -> dict[str, StoredWindow]:
        feast, names = self._feast, ONLINE_FEATURES if view else self._names
        with translated(self._folder, self._online):
            response = feast.get_online_features(
                features=[f"{view or ONLINE_VIEW}:{name}" for name in names],
                entity_rows=[{"symbol": symbol} for symbol in symbols],
            ).proto
        columns = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
        found = {}
        for row, symbol in enumerate(symbols):
            packed = columns["window"].values[row].bytes_val
            if packed:
                values, bar = unpack(packed)
                lineage = {name: columns[name].values[row].string_val for name in names if name != "window"}
                found[symbol] = StoredWindow(to_datetime(bar), values, **lineage)
        return found


def _are(known: OnlineWindows | MissingStateError, made: Made | None) -> bool:
    """Whether these are the windows that were asked for."""
    return not isinstance(known, MissingStateError) and (made is None or made.of(known))


def _count(stored: dict[str, StoredWindow], as_of: datetime, made: Made | None) -> int:
    """How many of these windows stand at `as_of` and are `made` so."""
    moment = to_datetime64(as_of)
    return sum((made is None or made.of(one)) and to_datetime64(one.bar) == moment for one in stored.values())
