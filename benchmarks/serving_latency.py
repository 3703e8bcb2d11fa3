"""Latency of a forecast by symbols over gRPC: both hosts, beside a bare `grpc.aio` + ONNX Runtime floor.

    python benchmarks/serving_latency.py [FORECASTS]

20 symbols, a transformer over 16 rows of 24 features, one unmodified tritonclient, one thread. A new
bar is published before every 20 forecasts (one a sleeve), so one of 20 reads the online store and 19
find it in the reader's cache, as in the loop. Each server is a process of its own; all are measured in
the same run, because figures of different minutes on a shared machine do not compare.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from alphaloop.clock import SystemClock, monotonic
from alphaloop.market import BarPanel, to_datetime, to_datetime64
from alphaloop.processes import ONE_THREAD, child_environment, free_port
from alphaloop.rollout import RolloutDocument, RolloutState, sleeve_names
from alphaloop.settings import Settings
from features.build import backfill
from features.sets import default
from features.streamer import Streamer
from models.card import Card
from models.dataset import Dataset
from models.export import export
from models.families import find
from models.labels import forward_returns
from models.registry import Registry
from serving.client import PredictionClient

SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
SLEEVES = sleeve_names(20)
HISTORY, WINDOW, HORIZON = 700, 16, 5
SERVERS = ("floor", "process", "ray")


def random_bars(count: int) -> BarPanel:
    """Closes of a random walk."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (count, len(SYMBOLS))), axis=0))
    first = to_datetime64(SystemClock().now().replace(year=2010, month=1, day=4, hour=21, minute=0, second=0))
    nothing = np.full_like(close, np.nan)
    return BarPanel(
        timestamps=(first.astype("datetime64[s]") + np.arange(count).astype("timedelta64[D]")).astype(
            "datetime64[ns]"
        ),
        symbols=SYMBOLS,
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones_like(close),
    )


def register(settings: Settings, history: BarPanel) -> None:
    """Two versions of a transformer that learned from noise: what it knows does not matter here."""
    frame = backfill(history, default())
    labels = forward_returns(history.adjusted_close, HORIZON)
    family = find("transformer")
    fitted = family.fit(
        Dataset(frame, labels, HORIZON, range(260, len(history))), family.default_parameters(), 1
    )
    exported = export(fitted)
    card = Card(
        model=settings.serving.model, family=family.name, parameters={}, feature_set=default().hash,
        features=default().names, inputs=("panel",), lookback=family.lookback, horizon=HORIZON,
        score_kind=family.score_kind, cross_sectional=False, snapshot="bench", train_first="", train_last="",
        pipeline_run=None, code_revision="bench", seed=1, walk_forward=(), metrics={}, ranges={}, fidelity={},
        gate={"passed": True}, digest=exported.digest, created_at="",
    )  # fmt: skip
    registry = Registry(settings.paths.registry)
    versions = [registry.register(settings.serving.model, exported.onnx, card) for _ in range(2)]
    registry.write_rollout(RolloutDocument(settings.serving.model, versions[0]), None)


def serve(kind: str, settings: Settings, port: int) -> None:
    """Run one server until SIGTERM."""
    if kind == "floor":
        asyncio.run(serve_floor(settings, port))
        return
    if kind == "ray":
        from serving.hosts.ray import RayHost as Host
    else:
        from serving.hosts.process import ProcessHost as Host  # type: ignore[assignment]
    Host(settings, port).run_forever(lambda url: print(url, flush=True))


async def serve_floor(settings: Settings, port: int) -> None:
    """The least that answers: scores of one fixed panel, without routing, store, lineage or log."""
    import grpc
    import onnxruntime
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = Registry(settings.paths.registry).onnx(settings.serving.model, "1")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    panel = np.random.default_rng(2).normal(size=(len(SYMBOLS), WINDOW, len(default()))).astype(np.float32)
    text = {"feature_timestamp": "", "route": "champion"}
    names = ("prediction_id", "version", "digest", "input_hash", "feature_set", "snapshot", "generation")

    class Floor(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        async def ServerLive(self, request: Any, context: Any) -> Any:
            return service_pb2.ServerLiveResponse(live=True)

        async def ModelInfer(self, request: Any, context: Any) -> Any:
            scores = session.run(None, {"panel": panel})[0]
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            for name, value in (text | dict.fromkeys(names, "0")).items():
                answer.parameters[name].string_param = value
            answer.outputs.add(name="scores", datatype="FP32", shape=[len(SYMBOLS)])
            answer.outputs.add(name="statuses", datatype="BYTES", shape=[len(SYMBOLS)])
            answer.raw_output_contents.extend([scores.tobytes(), b"\x02\0\0\0ok" * len(SYMBOLS)])
            return answer

    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Floor(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(1)


def ask(client: PredictionClient, streamer: Streamer, bars: BarPanel, generation: int) -> list[float]:
    """Milliseconds of each forecast: every sleeve at every bar."""
    took = []
    for bar in bars.slices():
        streamer.publish(bar, "bench")
        for sleeve in SLEEVES:
            start = monotonic()
            client.forecast(SYMBOLS, bar.timestamp, sleeve, min_generation=generation)
            took.append((monotonic() - start) * 1_000)
    return took


def figures(took: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    return {f"p{share:g}_ms": round(float(np.percentile(took, share)), 3) for share in (50, 90, 99, 99.9)}


def measure(kind: str, settings: Settings, bars: BarPanel, forecasts: int) -> dict[str, dict[str, float]]:
    """One server: steady, and (but for the floor) in the middle of a canary."""
    command = [sys.executable, __file__, "--serve", kind, settings.model_dump_json(), str(free_port())]
    environment = child_environment(ONE_THREAD)
    count = forecasts // len(SLEEVES)
    history, live = _split(bars, HISTORY)
    warm, live = _split(live, 5)
    steady, live = _split(live, count)
    registry, results = Registry(settings.paths.registry), {}
    with (
        Streamer(
            settings.paths.feast, default(), SYMBOLS, history, WINDOW, SystemClock(), replace=True
        ) as streamer,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child,
    ):
        if child.stdout is None:
            raise RuntimeError("the server's output is not connected")
        streamer.materialize("bench")
        url = child.stdout.readline().strip()
        with PredictionClient(url, settings.serving.model) as client:
            ask(client, streamer, warm, 0)
            results["steady"] = figures(ask(client, streamer, steady, 0))
            if kind != "floor":
                model = settings.serving.model
                document = registry.rollout(model) or RolloutDocument(model, "1")
                canary = document.next(state=RolloutState.CANARY, challenger="2", weight=0.25)
                registry.write_rollout(canary, document.generation)
                results["canary"] = figures(ask(client, streamer, _split(live, count)[0], canary.generation))
                registry.write_rollout(canary.settled("1"), canary.generation)
        child.send_signal(signal.SIGTERM)
        child.wait(60)
    return results


def _split(bars: BarPanel, count: int) -> tuple[BarPanel, BarPanel]:
    edge = to_datetime(bars.timestamps[count])
    before = to_datetime(bars.timestamps[count - 1])
    return bars.between(end=before), bars.between(start=edge)


def print_ratios(forecasts: int, results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A row a server and state: milliseconds, and how many times the floor."""
    floor = results["floor"]["steady"]
    print(
        f"{forecasts:,} forecasts of {len(SYMBOLS)} symbols each, by symbols, over gRPC; ms (times the floor)"
    )
    print(f"{'server':18}" + "".join(f"{name.removesuffix('_ms'):>16}" for name in floor))
    for kind, states in results.items():
        for state, row in states.items():
            cells = "".join(f"{value:8.2f} ({value / floor[name]:4.2f}x)" for name, value in row.items())
            print(f"{kind + ' ' + state:18}{cells}")


def main() -> None:
    """Measure all servers and print the figures and their ratios."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Settings.model_validate_json(sys.argv[3]), int(sys.argv[4]))
        return
    forecasts = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    os.environ.update(ONE_THREAD)
    home = Path(tempfile.mkdtemp(prefix="alphaloop-bench-"))
    try:
        settings = Settings(home=home)
        bars = random_bars(HISTORY + 10 + 2 * (forecasts // len(SLEEVES)))
        register(settings, bars.between(end=to_datetime(bars.timestamps[HISTORY - 1])))
        results = {kind: measure(kind, settings, bars, forecasts) for kind in SERVERS}
        print_ratios(forecasts, results)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
