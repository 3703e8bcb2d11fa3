"""Feature windows: a symbol's last rows of features, packed into one value of the online store.

Packed little-endian: rows (uint32), features (uint32), the bar's close in nanoseconds since 1970 UTC (int64),
then the rows, oldest first, as float32. The bar is part of the value because stores round event timestamps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.bars import to_datetime64
from alphaloop.errors import DamagedStoreError, MissingStateError, StaleFeaturesError
from alphaloop.forecasts import SymbolStatus

_HEADER = struct.Struct("<IIq")

WindowValues = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowKey:
    """Identity of windows: the hashes of their feature set and of the universe it ranks.

    `universe` is empty if no feature ranks, or if it is unknown.
    """

    feature_set: str
    universe: str = ""

    def matches(self, windows: StoredWindow | OnlineWindows) -> bool:
        """Return whether `windows` were computed from this feature set and universe."""
        same = not (self.universe and windows.universe) or self.universe == windows.universe
        return same and self.feature_set == windows.feature_set


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """One symbol's row of the online store.

    `values` is float32 `[rows, features]`, the last row being of `bar`. `universe` is the hash
    (`alphaloop.universe_hash`) of the symbols over which cross-sectional features were computed; empty if
    there are none, and in a store that does not record it.
    """

    bar: datetime
    values: WindowValues
    snapshot: str
    feature_set: str
    universe: str = ""


@dataclass(frozen=True, slots=True)
class OnlineWindows:
    """Windows of several symbols for exactly one bar.

    Parameters
    ----------
    symbols : tuple of str
        Symbols, in the order of `panel`.
    panel : ndarray of float32, shape (symbols, lookback, features)
        Values, read-only; NaN rows where `statuses` is missing.
    statuses : tuple of SymbolStatus
        Whether each symbol has all values at the last row.
    feature_timestamp : datetime
        Close of the bar in UTC.
    snapshot : str
        Id of the data that the bar was stored in.
    feature_set : str
        Hash of the feature set.
    universe : str, default ""
        Hash (`alphaloop.universe_hash`) of the universe of cross-sectional features; empty if there are none
        or it is unknown.
    """

    symbols: tuple[str, ...]
    panel: WindowValues
    statuses: tuple[SymbolStatus, ...]
    feature_timestamp: datetime
    snapshot: str
    feature_set: str
    universe: str = ""

    def made_of(self, feature_set: str, universe: str = "") -> bool:
        """Return whether the windows are of that feature set and, if it ranks, that universe (hashes)."""
        return WindowKey(feature_set, universe).matches(self)


def pack_window(window: WindowValues, bar: np.datetime64) -> bytes:
    """Pack a float32 `[rows, features]` window whose last row belongs to `bar`."""
    rows, features = window.shape
    nanoseconds = int(bar.astype("datetime64[ns]").astype(np.int64))
    return _HEADER.pack(rows, features, nanoseconds) + np.ascontiguousarray(window, dtype="<f4").tobytes()


def unpack_window(packed: bytes) -> tuple[WindowValues, np.datetime64]:
    """Unpack a window and its bar, bit for bit. Raises `DamagedStoreError` for any other bytes."""
    try:
        rows, features, nanoseconds = _HEADER.unpack_from(packed)
        window = np.frombuffer(packed, dtype="<f4", offset=_HEADER.size).reshape(rows, features)
    except (struct.error, ValueError) as error:
        raise DamagedStoreError(
            f"the online store holds a window of {len(packed)} bytes that cannot be unpacked ({error}); "
            "write it anew: alphaloop features materialize"
        ) from error
    return window, np.datetime64(nanoseconds, "ns")


def select_windows(
    stored: dict[str, StoredWindow],
    symbols: tuple[str, ...],
    as_of: datetime,
    lookback: int,
    wanted: WindowKey | None = None,
) -> OnlineWindows:
    """Return the windows of exactly `as_of`, preferring those that match `wanted`.

    See `features.store.online_reader.OnlineReader.read`. Raises `StaleFeaturesError` if no symbol has that
    bar, and `MissingStateError` if fewer rows are kept than `lookback`.
    """
    current = {
        symbol: one for symbol, one in stored.items() if to_datetime64(one.bar) == to_datetime64(as_of)
    }
    if not current:
        raise StaleFeaturesError(_age(stored, symbols, as_of))
    anyhow = next(iter(current.values()))
    first = next((one for one in current.values() if wanted is not None and wanted.matches(one)), anyhow)
    made = (first.feature_set, first.universe)
    same = {symbol: one for symbol, one in current.items() if (one.feature_set, one.universe) == made}
    kept = min(len(one.values) for one in same.values())
    if lookback > kept:
        raise MissingStateError(
            f"the online store keeps {kept} rows of each symbol and {lookback} are asked for; "
            "raise features.window and materialize again"
        )
    panel = np.full((len(symbols), lookback, first.values.shape[1]), np.nan, dtype=np.float32)
    for row, symbol in enumerate(symbols):
        if symbol in same and np.isfinite(same[symbol].values[-1]).all():
            panel[row] = same[symbol].values[-lookback:]
    panel.setflags(write=False)
    scored = [bool(np.isfinite(rows[-1]).all()) for rows in panel]
    return OnlineWindows(
        symbols=symbols,
        panel=panel,
        statuses=tuple(SymbolStatus.OK if one else SymbolStatus.MISSING for one in scored),
        feature_timestamp=first.bar,
        snapshot=first.snapshot,
        feature_set=first.feature_set,
        universe=first.universe,
    )


def _age(stored: dict[str, StoredWindow], symbols: tuple[str, ...], as_of: datetime) -> str:
    asked = f"features of {as_of.isoformat()} were asked for, and the online store"
    if not stored:
        return f"{asked} holds none of {', '.join(symbols[:8])}"
    newest = max(one.bar for one in stored.values())
    age = as_of - newest
    side = "older" if age.total_seconds() > 0 else "newer"
    return f"{asked} stands at {newest.isoformat()}, {abs(age)} {side}"
