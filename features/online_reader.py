"""Reading windows for serving: of exactly the bar that is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self

from alphaloop.clock import as_utc
from alphaloop.errors import MissingStateError
from alphaloop.market import to_datetime
from alphaloop.settings import Settings
from features.lease import exclusive
from features.online import SQLITE, OnlineAddress, online_address
from features.repo.connection import REGISTRY_FILE, REMEDY, open_feast, translated
from features.windows import OnlineWindows, StoredWindow, select, unpack

CACHED_READS = 64


class OnlineReader:
    """Reads windows from the online store; opened at the first read, usable from threads.

    The store is the file in `folder`, or the Redis that `online` names: see `features.online`.
    """

    def __init__(self, folder: Path, online: str | OnlineAddress = SQLITE) -> None:
        self._folder, self._online = Path(folder), online_address(online)
        self._lock = Lock()
        self._recent: OrderedDict[tuple[Any, ...], OnlineWindows] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A reader of the online store that the settings name."""
        return cls(settings.paths.feast, settings.features.online)

    def read(self, symbols: Sequence[str], as_of: datetime, lookback: int) -> OnlineWindows:
        """The windows of exactly `as_of`.

        A symbol that is absent, stands at another bar than the rest or has no values is masked.
        Raises `StaleFeaturesError`, naming the age, if no symbol stands at `as_of`;
        `MissingStateError` if there is no store or fewer rows are kept than `lookback`; `VendorError` if
        Redis cannot be reached.
        """
        as_of = as_utc(as_of)
        key = (as_of, tuple(symbols), lookback)
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
            windows = select(self._fetch(key[1]), key[1], as_of, lookback)
            self._recent[key] = windows
            if len(self._recent) > CACHED_READS:
                self._recent.popitem(last=False)
            return windows

    def stored(self, symbols: Sequence[str]) -> dict[str, StoredWindow]:
        """What is stored of those `symbols` that are there, at whatever bar."""
        with self._lock:
            return self._fetch(tuple(symbols))

    @cached_property
    def _feast(self) -> Any:
        if not (self._folder / REGISTRY_FILE).is_file():
            if not self._online.remote:
                raise MissingStateError(f"there is no feature store in {self._folder}; {REMEDY}")
            self._define()
        return open_feast(self._folder, self._online)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What can be asked for: a store that the release before defined says less of each window."""
        from features.repo.definitions import ONLINE_FEATURES, ONLINE_VIEW

        feast = self._feast
        with translated(self._folder, self._online):
            known = {field.name for field in feast.get_feature_view(ONLINE_VIEW).schema}
        return tuple(name for name in ONLINE_FEATURES if name in known)

    def _define(self) -> None:
        """Tell Feast of the windows in Redis: the machine that writes them has another folder."""
        from features.repo import definitions

        with exclusive(self._folder / "apply.lock"), translated(self._folder, self._online):
            unread = str(self._folder.resolve() / "windows.parquet")
            open_feast(self._folder, self._online).apply(
                [definitions.symbol(), definitions.online_view(unread)]
            )

    def _fetch(self, symbols: tuple[str, ...]) -> dict[str, StoredWindow]:
        from features.repo.definitions import ONLINE_VIEW

        feast, names = self._feast, self._names
        with translated(self._folder, self._online):
            response = feast.get_online_features(
                features=[f"{ONLINE_VIEW}:{name}" for name in names],
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
