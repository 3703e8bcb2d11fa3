"""Features: against raw TA-Lib, against pandas-ta-classic, bar by bar, and by the size of the universe.

    python benchmarks/feature_catalogue.py

One run on one machine; look at the ratios. The peer is installed into a virtual environment of its own
in a temporary folder, with the same pandas and numpy and without TA-Lib.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.clock import monotonic
from features import catalogue
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.engine import columns as inputs
from features.engine.graph import Graph, Input, NodeOutput
from features.engine.operator import Axes
from features.feature_set import FeatureSet, catalogue_feature_set
from features.store import bulk

SYMBOLS, BARS = 20, 8_000
LENGTHS = (5, 10, 14, 20, 50)
# The indicators of peers/pandas_ta.py, as ours are called.
PEERS = (
    "sma", "ema", "wma", "dema", "tema", "kama", "trima", "rsi", "roc", "mom", "cmo", "stddev", "var",
    "linearreg", "atr", "natr", "cci", "willr", "mfi", "aroon",
)  # fmt: skip
UNIVERSES = (250, 500, 1_000, 2_000)
WIDE_BARS, WIDE_FEATURES = 260, 250
PROBE = "universe"


def market(bars: int, symbols: int, seed: int = 7) -> BarPanel:
    """Open, high, low, close and volume of random walks with heavy tails."""
    random = np.random.default_rng(seed)
    shape = (bars, symbols)
    close = 50 * np.exp(np.cumsum(random.standard_t(4, shape) * 0.01, axis=0))
    opened = close * (1 + random.normal(0, 0.003, shape))
    start = np.datetime64("1990-01-02T21:00", "ns")
    return BarPanel(
        timestamps=start + np.arange(bars) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{place:04d}" for place in range(symbols)),
        open=opened,
        high=np.maximum(opened, close) * (1 + random.uniform(0, 0.01, shape)),
        low=np.minimum(opened, close) * (1 - random.uniform(0, 0.01, shape)),
        close=close,
        volume=np.round(random.lognormal(13, 0.5, shape)),
        adjustment=np.ones(shape),
    )


def timed(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the quickest of several runs."""
    took = []
    for _ in range(times):
        start = monotonic()
        work()
        took.append(monotonic() - start)
    return min(took)


def against_talib(bars: BarPanel) -> None:
    """All functions of TA-Lib through the graph, and by calling TA-Lib; both keep what they computed."""
    import talib

    nodes = [catalogue.build_indicator(function.lower()) for function in talib.get_functions()]
    graph = Graph([NodeOutput(node, place) for node in nodes for place in range(len(node.operator.outputs))])
    axes = Axes(bars.timestamps, bars.symbols)
    columns = inputs.contiguous_columns(bars, graph.inputs)
    cycle = catalogue.build_indicator("ht_dcperiod").output()
    periods = np.nan_to_num(dict(Graph([cycle]).batch(columns, axes))[0], nan=20.0)

    def raw() -> list[object]:
        return [
            getattr(talib, node.operator.function)(
                *[columns[one.name][:, place] if isinstance(one, Input) else periods[:, place]
                  for one in node.arguments],
                **node.operator.parameters,
            )
            for node in nodes
            for place in range(len(bars.symbols))
        ]  # fmt: skip

    floor, ours = np.inf, np.inf
    # In turns, so that a busy minute is both's.
    for _ in range(7):
        floor = min(floor, timed(raw, 1))
        ours = min(ours, timed(lambda: dict(graph.batch(columns, axes)), 1))
    print(f"\n{len(nodes)} TA-Lib functions, {len(bars.symbols)} symbols x {len(bars):,} bars")
    print(
        f"  raw calls {floor * 1e3:8.1f} ms   catalogue {ours * 1e3:8.1f} ms   "
        f"ratio {ours / floor:.2f} (at most 1.3)"
    )


def against_pandas_ta(bars: BarPanel) -> None:
    """A hundred features of each, over the same bars."""
    names = [
        f"{name}({length}){'.aroonup' if name == 'aroon' else ''}" for name in PEERS for length in LENGTHS
    ]
    chosen = FeatureSet(names)
    with tempfile.TemporaryDirectory(prefix="alphaloop-peer-") as folder:
        python = peer(Path(folder))
        file = Path(folder) / "bars.npz"
        np.savez(file, **inputs.adjusted_columns(bars, ("open", "high", "low", "close", "volume")))
        script = Path(__file__).parent / "peers" / "pandas_ta.py"
        answer = subprocess.run(
            [str(python), str(script), str(file), "1"], check=True, capture_output=True, text=True
        )
        theirs = min(json.loads(answer.stdout.splitlines()[-1]))
    ours = timed(lambda: backfill(bars, chosen))
    print(f"\n{len(chosen)} features, {len(bars.symbols)} symbols x {len(bars):,} bars")
    print(
        f"  pandas-ta-classic {theirs:8.2f} s   ours {ours:8.3f} s   "
        f"{theirs / ours:.0f} times as fast (at least 10)"
    )


def peer(folder: Path) -> Path:
    """An interpreter that has the peer."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    pinned = [f"{name}=={version(name)}" for name in ("pandas-ta-classic", "pandas", "numpy")]
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned], check=True
    )
    return python


def bar_by_bar(bars: BarPanel) -> None:
    """The streams of a hundred features of all symbols, one bar after the other."""
    names = [
        f"{name}({length}){'.aroonup' if name == 'aroon' else ''}" for name in PEERS for length in LENGTHS
    ]
    live = 2_000
    history = bars.between(end=bars.at(len(bars) - live - 1).timestamp)
    stream = FeatureStream(FeatureSet(names), bars.symbols, history)
    took = []
    for row in range(len(bars) - live, len(bars)):
        bar = bars.at(row)
        start = monotonic()
        stream.update(bar)
        took.append((monotonic() - start) * 1e3)
    p50, p99 = np.percentile(took, (50, 99))
    print(f"\n{len(names)} features streamed, {len(bars.symbols)} symbols, {live:,} bars")
    print(f"  a bar: p50 {p50:.2f} ms   p99 {p99:.2f} ms (at most 3)")


def universe(symbols: int) -> None:
    """In a process of its own: seconds and peak memory of one universe, built by chunks."""
    whole = catalogue_feature_set(market(WIDE_BARS, 2))
    places = np.linspace(0, len(whole) - 1, WIDE_FEATURES).astype(int)
    chosen = FeatureSet([f"f{place} = {whole.features[place].formula}" for place in places])
    sample = market(WIDE_BARS, 50)

    def read(names: tuple[str, ...]) -> BarPanel:
        # Bars of any symbol: those of one of fifty under its name.
        picked = sample.select(tuple(f"S{int(name[1:]) % 50:04d}" for name in names))
        return BarPanel(
            symbols=names,
            **{one.name: getattr(picked, one.name) for one in fields(picked) if one.name != "symbols"},
        )

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = tuple(f"S{place:04d}" for place in range(symbols))
    with tempfile.TemporaryDirectory(prefix="alphaloop-bulk-") as folder:
        start = monotonic()
        built = bulk.build_in_chunks(
            read, names, sample.timestamps, chosen, Path(folder) / "features.parquet"
        )
        took = monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps({"rows": built.rows, "seconds": took, "peak_mb": peak / 1024, "before_mb": before / 1024})
    )


def by_size() -> None:
    """What a symbol costs in universes of growing size."""
    print(f"\n{WIDE_FEATURES} features of {WIDE_BARS} bars a symbol, written to Parquet by chunks")
    first = 0.0
    for symbols in UNIVERSES:
        answer = subprocess.run(
            [sys.executable, __file__, PROBE, str(symbols)], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        found = json.loads(answer.stdout.splitlines()[-1])
        each = found["seconds"] / symbols * 1e3
        first = first or each
        print(
            f"  {symbols:5d} symbols {found['seconds']:8.1f} s   {each:6.1f} ms a symbol "
            f"({each / first:.2f}x)   peak {found['peak_mb']:,.0f} MB"
        )


def main() -> None:
    """Everything, one after the other."""
    if sys.argv[1:2] == [PROBE]:
        universe(int(sys.argv[2]))
        return
    bars = market(BARS, SYMBOLS)
    against_talib(bars)
    bar_by_bar(bars)
    against_pandas_ta(bars)
    by_size()


if __name__ == "__main__":
    main()
