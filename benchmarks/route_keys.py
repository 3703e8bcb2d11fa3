"""Time one request for all capital sleeves of a bar beside one request for one sleeve.

    python benchmarks/route_keys.py [--rounds 15]

Our single-process host serves the model of `serving_latency.py` by symbols over gRPC, first with a champion
alone, then in a canary of five of the 20 sleeves, where the one request needs both versions and the request
for one sleeve scores the other version after its answer. Client, server and store are those of trading. The
kinds take turns within a round; a ratio is the median over rounds of p50 over the p50 of one sleeve in the
same round. Processor time is the server's, for each request with what follows its answer.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from alphaloop.clock import SystemClock, sleep
from alphaloop.rollout_document import RolloutState
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from features.store.streamer import Streamer
from models.registry.configured_registry import configured_registry
from serving.client.client import PredictionClient

# `make bench` sets PYTHONSAFEPATH, which leaves a script's own folder out.
sys.path.append(str(Path(__file__).parent))

from latency.champion import FEATURES, HISTORY, LOOKBACK, MODEL, SLEEVES, SYMBOLS, random_bars, register
from latency.load import milliseconds
from latency.scratch import run_in_scratch
from latency.servers import Servers, usage

MAX_RATIO = 1.5
ASKED = 200
ONE, ALL, EACH = "one sleeve", "20 in one request", "20 requests"


def begin_canary(settings: Settings) -> None:
    """Register the champion's file once more, and give it a quarter of the sleeves."""
    registry = configured_registry(settings)
    before = registry.rollout(MODEL)
    if before is None:
        raise RuntimeError(f"{MODEL} has no champion")
    card, onnx = registry.card(MODEL, before.champion), registry.onnx(MODEL, before.champion)
    after = before.next(
        challenger=registry.register(MODEL, onnx, card), state=RolloutState.CANARY, weight=0.25
    )
    registry.write_rollout(after, before.generation)


def asks_of(client: PredictionClient, at: Any) -> dict[str, Callable[[], Any]]:
    """Return what each kind asks for at the bar that closed at `at`."""
    return {
        ONE: lambda: client.forecast(SYMBOLS, at, SLEEVES[0]),
        ALL: lambda: client.forecasts(SYMBOLS, at, SLEEVES),
        EACH: lambda: [client.forecast(SYMBOLS, at, sleeve) for sleeve in SLEEVES],
    }


def measure(
    asks: dict[str, Callable[[], Any]], server: Any, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return p50 and the server's processor time of each round, in milliseconds, by kind."""
    p50: dict[str, list[float]] = {kind: [] for kind in asks}
    processor: dict[str, list[float]] = {kind: [] for kind in asks}
    orders = np.random.default_rng(3)
    for _ in range(rounds):
        for kind in orders.permutation(list(asks)).tolist():
            count = ASKED // len(SLEEVES) if kind == EACH else ASKED
            before, _ = usage(server)
            p50[kind].append(float(np.median(milliseconds(asks[kind], count, warm=count))))
            # Until what follows the last answers is done.
            sleep(0.1)
            processor[kind].append((usage(server)[0] - before) * 1e3 / (2 * count))
    return p50, processor


def print_state(state: str, p50: dict[str, list[float]], processor: dict[str, list[float]]) -> None:
    """Print a row a kind: medians of rounds, and how many times one sleeve."""
    print(f"{state}; medians of rounds")
    print(f"{'asked for':20}{'p50 ms':>9}{'x one':>8}{'server ms':>11}{'x one':>8}")
    for kind, values in p50.items():
        ratio = np.median(np.array(values) / p50[ONE])
        used, used_ratio = np.median(processor[kind]), np.median(np.array(processor[kind]) / processor[ONE])
        print(f"{kind:20}{np.median(values):9.3f}{ratio:7.2f}x{used:11.3f}{used_ratio:7.2f}x")
    ratio = np.median(np.array(p50[ALL]) / p50[ONE])
    print(f"20 sleeves in one request take {ratio:.2f} times one sleeve (at most {MAX_RATIO})")


def run(arguments: argparse.Namespace, home: Path, stack: ExitStack) -> None:
    """Serve, measure both states of a rollout, and print."""
    serving = ServingSettings(model=MODEL, http_port=0, metrics_port=0, poll_seconds=0.1)
    settings = Settings(home=home / "home", serving=serving)
    history = random_bars(HISTORY)
    servers = Servers(settings, register(settings, history), home, stack)
    streamer = stack.enter_context(
        Streamer(settings.paths.feast, FEATURES, SYMBOLS, history, LOOKBACK, SystemClock(), replace=True)
    )
    streamer.materialize("bench")
    servers.start("process")
    client = stack.enter_context(PredictionClient(servers.urls["process"], MODEL))
    asks, server = asks_of(client, history.at(len(history) - 1).timestamp), servers.processes["process"]
    print(f"{len(SYMBOLS)} symbols x {LOOKBACK} x {len(FEATURES)}, by symbols; load {os.getloadavg()[0]:.2f}")
    print_state("steady", *measure(asks, server, arguments.rounds))
    begin_canary(settings)
    while len({forecast.version for forecast in asks[ALL]().forecasts.values()}) < 2:
        sleep(0.1)
    print_state("canary of 5 of 20 sleeves", *measure(asks, server, arguments.rounds))


def main() -> None:
    """Measure; everything lies in a temporary folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    run_in_scratch(run, parser.parse_args())


if __name__ == "__main__":
    main()
