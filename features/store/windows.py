"""Windows: a symbol's last rows of features, packed into one value, and what is read of them.

Packed they are little-endian: rows (uint32), features (uint32), the bar's close in nanoseconds since
1970 UTC (int64), then the rows, oldest first, as float32. The bar travels inside, because stores round
event timestamps.
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

Window = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Made:
    """What windows are made of: the hash of a feature set, and that of the universe that it ranks.

    `universe` is empty where no feature ranks, and where it is not known.
    """

    feature_set: str
    universe: str = ""

    def of(self, windows: StoredWindow | OnlineWindows) -> bool:
        """Whether these windows are such ones."""
        same = not (self.universe and windows.universe) or self.universe == windows.universe
        return same and self.feature_set == windows.feature_set


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """One symbol's row of the online store; `values` is float32 `[rows, features]`, the last of `bar`.

    `universe` is the hash (`alphaloop.universe_hash`) of the symbols that cross-sectional features were
    computed over; empty where there are none of these, and in a store that does not say.
    """

    bar: datetime
    values: Window
    snapshot: str
    feature_set: str
    universe: str = ""


@dataclass(frozen=True, slots=True)
class OnlineWindows:
    """What the online store holds of `symbols` for exactly one bar.

    `panel` is float32 `[symbols, lookback, features]`, not writeable, with NaN rows where `statuses`
    says missing. `snapshot` and `feature_set` are ids of the data and the feature set, `universe` is that of
    `StoredWindow`.
    """

    symbols: tuple[str, ...]
    panel: Window
    statuses: tuple[SymbolStatus, ...]
    feature_timestamp: datetime
    snapshot: str
    feature_set: str
    universe: str = ""

    def made_of(self, feature_set: str, universe: str = "") -> bool:
        """Whether they are of that set and, if it ranks, over that universe; hashes, as in `Made`."""
        return Made(feature_set, universe).of(self)


def pack(window: Window, bar: np.datetime64) -> bytes:
    """A float32 `[rows, features]` window whose last row belongs to `bar`, as bytes."""
    rows, features = window.shape
    nanoseconds = int(bar.astype("datetime64[ns]").astype(np.int64))
    return _HEADER.pack(rows, features, nanoseconds) + np.ascontiguousarray(window, dtype="<f4").tobytes()


def unpack(packed: bytes) -> tuple[Window, np.datetime64]:
    """The window and its bar, bit for bit as packed; `DamagedStoreError` for anything else."""
    try:
        rows, features, nanoseconds = _HEADER.unpack_from(packed)
        window = np.frombuffer(packed, dtype="<f4", offset=_HEADER.size).reshape(rows, features)
    except (struct.error, ValueError) as error:
        raise DamagedStoreError(
            f"the online store holds a window of {len(packed)} bytes that cannot be unpacked ({error}); "
            "write it anew: alphaloop features materialize"
        ) from error
    return window, np.datetime64(nanoseconds, "ns")


def select(
    stored: dict[str, StoredWindow],
    symbols: tuple[str, ...],
    as_of: datetime,
    lookback: int,
    wanted: Made | None = None,
) -> OnlineWindows:
    """The windows of exactly `as_of`, of those there the `wanted`; see
    `features.store.online.OnlineReader.read`.
    """
    current = {
        symbol: one for symbol, one in stored.items() if to_datetime64(one.bar) == to_datetime64(as_of)
    }
    if not current:
        raise StaleFeaturesError(_age(stored, symbols, as_of))
    anyhow = next(iter(current.values()))
    first = next((one for one in current.values() if wanted is not None and wanted.of(one)), anyhow)
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
