"""Serving: our hosts beside a bare `grpc.aio` + ONNX Runtime server, MLServer, BentoML and MLflow.

    python benchmarks/serving_latency.py [--seconds 60] [--rounds 15] [--peers floor,process,ray,mlserver,…]

One transformer of about 0.2 ms, 20 symbols x 16 rows x 30 features. All servers run at once and are asked
in turns, one request at a time; a ratio is the median over rounds of a server's p50 over the floor's in
the same round, because figures of different minutes do not compare. Then each of our hosts alone gets
half of its own peak rate in open loop: requests go out at fixed times and their time counts from then.
Peers that are not installed here get a virtual environment in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from features.store.streamer import Streamer

# `make bench` sets PYTHONSAFEPATH, which leaves a script's own folder out.
sys.path.append(str(Path(__file__).parent))

from latency.champion import FEATURES, HISTORY, LOOKBACK, MODEL, SLEEVES, SYMBOLS, random_bars, register
from latency.load import ASKED, WARM, by_symbols, closed, in_turns, open_loop
from latency.scratch import run_in_scratch
from latency.servers import OURS, SERVERS, Servers, usage


def run(arguments: argparse.Namespace, home: Path, stack: ExitStack) -> None:
    """Start what is asked for, measure, and print."""
    serving = ServingSettings(model=MODEL, http_port=0, metrics_port=0)
    settings = Settings(home=home / "home", serving=serving)
    rounds = max(3, arguments.rounds // 3)
    needed = 1 + (ASKED + WARM) * rounds // len(SLEEVES)
    bars = random_bars(HISTORY + len(OURS) * needed + 1)
    history = bars.between(end=to_datetime(bars.timestamps[HISTORY - 1]))
    servers = Servers(settings, register(settings, history), home, stack)
    streamer = stack.enter_context(
        Streamer(settings.paths.feast, FEATURES, SYMBOLS, history, LOOKBACK, SystemClock(), replace=True)
    )
    streamer.materialize("bench")
    asks = {}
    for kind in arguments.peers.split(","):
        try:
            asks[kind] = servers.start(kind)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"{kind} is left out: {error}")
    took = in_turns(asks, arguments.rounds)
    print_turns(took, servers)
    live = [bars.at(HISTORY + number) for number in range(len(OURS) * needed + 1)]
    for place, kind in enumerate(one for one in OURS if one in asks):
        ask = by_symbols(servers.urls[kind], streamer, live[place * needed : (place + 1) * needed])
        added = in_turns({"panel": asks[kind], "symbols": ask}, rounds)
        difference = np.median(added["symbols"][:, 0] - added["panel"][:, 0])
        print(f"{kind}: by symbols adds {difference:.2f} ms at p50 (at most 1)")
    for kind in (one for one in OURS if one in asks):
        print_load(kind, servers, arguments.seconds)


def print_turns(took: dict[str, np.ndarray[Any, Any]], servers: Servers) -> None:
    """A row a server: medians of rounds, and how many times the floor."""
    print(
        f"{len(SYMBOLS)} symbols x {LOOKBACK} x {len(FEATURES)}, by tensor, one at a time; medians of rounds"
    )
    print(f"{'server':12}{'p50 ms':>9}{'p99 ms':>9}{'x floor':>9}{'PSS MiB':>9}")
    for kind, values in took.items():
        p50, p99 = np.median(values, axis=0)
        ratio = np.median(values[:, 0] / took["floor"][:, 0]) if "floor" in took else np.nan
        memory = usage(servers.processes[kind])[1]
        print(f"{kind:12}{p50:9.3f}{p99:9.3f}{ratio:8.2f}x{memory:9.0f}")
    if "ray" in took and "mlserver" in took:
        print(
            f"ray is {np.median(took['ray'][:, 0] / took['mlserver'][:, 0]):.2f} times mlserver (at most 1)"
        )
    print("targets: process at most 1.2x, ray at most 1.5x")


def print_load(kind: str, servers: Servers, seconds: float) -> None:
    """Peak rate, and open loop at half of it."""
    url, process = servers.urls[kind], servers.processes[kind]
    peak = max(asyncio.run(closed(url, servers.request, 3.0)) for _ in range(2))
    before, _ = usage(process)
    took, errors = asyncio.run(open_loop(url, servers.request, peak / 2, seconds))
    used, memory = usage(process)
    shares = np.percentile(took, (50, 99, 99.9))
    print(
        f"{kind}: peak {peak:,.0f}/s; open loop at {peak / 2:,.0f}/s for {seconds:g} s: "
        f"p50 {shares[0]:.2f}, p99 {shares[1]:.2f} (at most 10), p99.9 {shares[2]:.2f} ms, "
        f"{len(errors)} errors of {len(took) + len(errors):,}; "
        f"{len(took) / (used - before):,.0f} requests a second of one core; {memory:.0f} MiB"
    )


def main() -> None:
    """Measure what is asked for; everything lies in a temporary folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", default=",".join(SERVERS))
    run_in_scratch(run, parser.parse_args())


if __name__ == "__main__":
    main()
