"""Point-in-time joins: 160,000 rows x 30 features by our ASOF join and by Feast's own, which must agree.

    python benchmarks/feature_join.py

Both read the same Parquet files in the same run; look at the ratio.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from alphaloop.bars import Timestamps
from alphaloop.clock import monotonic
from features.compute.batch import FeatureFrame
from features.feature_set import FeatureSet
from features.store.feature_store import FeatureStore

SYMBOLS, BARS, TURNS = 20, 8_000, 3
LENGTHS = range(5, 35)


def frame(chosen: FeatureSet) -> FeatureFrame:
    """Random features: what they are does not matter to a join."""
    random = np.random.default_rng(3)
    values = random.normal(size=(BARS, SYMBOLS, len(chosen))).astype(np.float32)
    return FeatureFrame(moments(), symbols(), chosen.names, values, chosen.hash)


def moments() -> Timestamps:
    """Closes of 8,000 days."""
    return np.datetime64("1995-01-02T21:00", "ns") + np.arange(BARS) * np.timedelta64(1, "D")


def symbols() -> tuple[str, ...]:
    """The universe."""
    return tuple(f"S{place:02d}" for place in range(SYMBOLS))


def rows() -> pa.Table:
    """A row for each symbol and bar, an hour after its close, in no order."""
    order = np.random.default_rng(4).permutation(BARS * SYMBOLS)
    later = (moments() + np.timedelta64(1, "h")).astype("datetime64[us]")
    return pa.table(
        {
            "symbol": pa.array(np.tile(np.array(symbols(), dtype=object), BARS)[order], pa.string()),
            "timestamp": pa.array(np.repeat(later, SYMBOLS)[order], pa.timestamp("us", tz="UTC")),
        }
    )


def main() -> None:
    """Both joins, in turns."""
    chosen = FeatureSet([f"rsi({length})" for length in LENGTHS])
    wanted = rows()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="alphaloop-join-") as folder:
        store = FeatureStore(Path(folder), chosen)
        store.apply()
        store.write_offline(frame(chosen))
        for _ in range(TURNS):
            start = monotonic()
            fast = store.read(wanted)
            ours.append(monotonic() - start)
            start = monotonic()
            reference = store.training_frame(wanted)
            theirs.append(monotonic() - start)
        equal = fast.cast(reference.schema).equals(reference)
    ratio = np.median(theirs) / np.median(ours)
    print(f"{len(wanted):,} rows x {len(chosen)} features, point in time")
    print(
        f"  Feast {np.median(theirs):6.2f} s   ours {np.median(ours):6.3f} s   "
        f"{ratio:.1f} times as fast (at least 5)   equal: {equal}"
    )


if __name__ == "__main__":
    main()
