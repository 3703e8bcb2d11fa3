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
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.market import BarPanel, to_datetime, to_datetime64
from alphaloop.processes import ONE_THREAD, child_environment, free_port
from alphaloop.rollout import RolloutDocument, sleeve_names
from alphaloop.settings import ServingSettings, Settings
from features.build import backfill
from features.sets import FeatureSet, default
from features.streamer import Streamer
from models.card import Card
from models.dataset import Dataset
from models.export import export
from models.families import find
from models.labels import forward_returns
from models.registry import Registry
from serving.client import PredictionClient
from serving.exports.bento import export_bento
from serving.exports.version import ExportedVersion

PEERS = Path(__file__).parent / "peers"
SERVERS = ("floor", "process", "ray", "mlserver", "bentoml", "mlflow")
OURS = ("process", "ray")
SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
SLEEVES = sleeve_names(20)
FEATURES = FeatureSet(
    (*default().names, *(f"rsi_{length} = rsi({length})" for length in (5, 7, 9, 21, 28, 35)))
)
HISTORY, LOOKBACK, HORIZON, WIDTH = 700, 16, 5, 32
# A tenth of a second before it counts: servers take turns, and each finds the caches full of the others'.
ASKED, WARM = 200, 100
MODEL = "equities"


def random_bars(count: int) -> BarPanel:
    """Closes of a random walk."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (count, len(SYMBOLS))), axis=0))
    first = to_datetime64(SystemClock().now().replace(year=2010, month=1, day=4, hour=21, minute=0, second=0))
    times = first.astype("datetime64[s]") + np.arange(count).astype("timedelta64[D]")
    nothing = np.full_like(close, np.nan)
    return BarPanel(
        timestamps=times.astype("datetime64[ns]"), symbols=SYMBOLS, open=nothing, high=nothing, low=nothing,
        close=close, volume=nothing, adjustment=np.ones_like(close),
    )  # fmt: skip


def register(settings: Settings, history: BarPanel) -> bytes:
    """A transformer that learned from noise, as champion: what it knows does not matter here."""
    frame, labels = backfill(history, FEATURES), forward_returns(history.adjusted_close, HORIZON)
    family = find("transformer")
    chosen = family.default_parameters() | {"width": WIDTH, "epochs": 1}
    exported = export(family.fit(Dataset(frame, labels, HORIZON, range(260, len(history))), chosen, 1))
    card = Card(
        model=MODEL, family=family.name, parameters={}, feature_set=FEATURES.hash, features=FEATURES.names,
        inputs=("panel",), lookback=family.lookback, horizon=HORIZON, score_kind=family.score_kind,
        cross_sectional=False, snapshot="bench", train_first="", train_last="", pipeline_run=None,
        code_revision="bench", seed=1, walk_forward=(), metrics={}, ranges={}, fidelity={},
        gate={"passed": True}, digest=exported.digest, created_at="",
    )  # fmt: skip
    registry = Registry(settings.paths.registry)
    registry.write_rollout(RolloutDocument(MODEL, registry.register(MODEL, exported.onnx, card)), None)
    return exported.onnx


@contextmanager
def child(command: list[str], extra: dict[str, str] | None = None, cwd: Path | None = None) -> Iterator[Any]:
    """A server in a process of its own, ended by SIGTERM."""
    environment = child_environment({**ONE_THREAD, **(extra or {})})
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, cwd=cwd) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            for left in psutil.wait_procs(started, timeout=10)[1]:
                left.kill()


class Servers:
    """Starts each kind of server once; `ask` sends one request to it and waits for the answer."""

    def __init__(self, settings: Settings, onnx: bytes, scratch: Path, stack: ExitStack) -> None:
        self._settings, self._scratch, self._stack = settings, scratch, stack
        self.panel = np.random.default_rng(2).normal(size=(20, LOOKBACK, len(FEATURES))).astype(np.float32)
        self._file = scratch / "model.onnx"
        self._file.write_bytes(onnx)
        self.request = service_pb2.ModelInferRequest(model_name=MODEL)
        self.request.inputs.add(name="panel", datatype="FP32", shape=self.panel.shape)
        self.request.raw_input_contents.append(self.panel.tobytes())
        self.urls: dict[str, str] = {}
        self.processes: dict[str, psutil.Process] = {}

    def start(self, kind: str) -> Callable[[], Any]:
        """Start `kind`, wait until it answers, and return what asks it."""
        port = free_port()
        self.urls[kind] = f"127.0.0.1:{port}"
        command, extra, cwd = getattr(self, f"_{kind}")(port)
        self.processes[kind] = self._stack.enter_context(child(command, extra, cwd))
        ask = self._http(kind, port) if kind in {"bentoml", "mlflow"} else self._grpc(kind)
        deadline = monotonic() + 120
        while True:
            with suppress(grpc.RpcError, OSError, http.client.HTTPException, RuntimeError):
                ask()
                return ask
            if monotonic() > deadline or not self.processes[kind].is_running():
                raise RuntimeError(f"{kind} does not answer")
            sleep(0.2)

    def _floor(self, port: int) -> tuple[list[str], dict[str, str], None]:
        return [sys.executable, str(PEERS / "serving_floor.py"), str(self._file), str(port)], {}, None

    def _process(self, port: int, kind: str = "process") -> tuple[list[str], dict[str, str], None]:
        script, settings = str(PEERS / "serving_host.py"), self._settings.model_dump_json()
        return [sys.executable, script, kind, settings, str(port)], {}, None

    def _ray(self, port: int) -> tuple[list[str], dict[str, str], None]:
        return self._process(port, "ray")

    def _mlserver(self, port: int) -> tuple[list[str], dict[str, str], Path]:
        folder = self._scratch / "mlserver"
        (folder / "model").mkdir(parents=True)
        python = Path(os.environ.get("MLSERVER_PYTHON") or _environment(folder, "mlserver", "onnxruntime"))
        shutil.copy(PEERS / "serving_mlserver.py", folder / "model")
        settings = {
            "host": "127.0.0.1", "http_port": free_port(), "grpc_port": port, "metrics_port": free_port(),
            "parallel_workers": 0, "debug": False,
        }  # fmt: skip
        model = {
            "name": MODEL, "implementation": "serving_mlserver.OnnxModel",
            "parameters": {"uri": str(self._file)},
        }  # fmt: skip
        (folder / "model" / "settings.json").write_text(json.dumps(settings))
        (folder / "model" / "model-settings.json").write_text(json.dumps(model))
        command = [str(python.parent / "mlserver"), "start", "."]
        return command, {"PYTHONPATH": str(folder / "model"), "PYTHONSAFEPATH": ""}, folder / "model"

    def _bentoml(self, port: int) -> tuple[list[str], dict[str, str], None]:
        exported = ExportedVersion.read(Registry(self._settings.paths.registry), MODEL)
        folder, home = export_bento(exported, self._scratch / "bento"), self._scratch / "bentoml"
        home.mkdir()
        command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1"]
        extra = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
        return [*command, "--port", str(port)], extra, None

    def _mlflow(self, port: int) -> tuple[list[str], dict[str, str], None]:
        registry = Registry(self._settings.paths.registry)
        (model,) = registry.artifacts.glob("*/artifacts/model")
        programs = Path(sys.executable).parent
        # It starts uvicorn by name.
        path = {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
        command = [str(programs / "mlflow"), "models", "serve", "-m", str(model)]
        return [*command, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)], path, None

    def _grpc(self, kind: str) -> Callable[[], Any]:
        channel = self._stack.enter_context(grpc.insecure_channel(self.urls[kind]))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return lambda: stub.ModelInfer(self.request, timeout=10)

    def _http(self, kind: str, port: int) -> Callable[[], Any]:
        path = "/predict" if kind == "bentoml" else "/invocations"
        named: Any = self.panel.tolist()
        content = json.dumps({"panel": named} if kind == "bentoml" else {"inputs": {"panel": named}})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def once() -> tuple[int, bytes]:
            connection.request("POST", path, content, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

        def ask() -> bytes:
            try:
                status, body = once()
            except (OSError, http.client.HTTPException):
                # A connection that was idle while others were asked has been closed.
                connection.close()
                status, body = once()
            if status != 200:
                raise RuntimeError(f"{kind} answered {status}: {body[:200]!r}")
            return body

        return ask


def _environment(folder: Path, *packages: str) -> Path:
    """An interpreter that has `packages`."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True, capture_output=True)
    return python


def milliseconds(ask: Callable[[], Any], count: int = ASKED) -> np.ndarray[Any, Any]:
    """The time of each of `count` requests, one after the other."""
    for _ in range(WARM):
        ask()
    took = []
    for _ in range(count):
        start = monotonic()
        ask()
        took.append((monotonic() - start) * 1e3)
    return np.array(took)


def in_turns(asks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray[Any, Any]]:
    """p50 and p99 in milliseconds of each round, `[rounds, 2]`.

    The order is drawn anew each round: who always followed the slowest would have its caches cold.
    """
    found: dict[str, list[Any]] = {kind: [] for kind in asks}
    orders = np.random.default_rng(3)
    for _ in range(rounds):
        for kind in orders.permutation(list(asks)).tolist():
            count = ASKED if kind not in {"bentoml", "mlflow"} else ASKED // 4
            found[kind].append(np.percentile(milliseconds(asks[kind], count), (50, 99)))
    return {kind: np.array(values) for kind, values in found.items()}


def usage(process: psutil.Process) -> tuple[float, float]:
    """Seconds of CPU and MiB of memory (PSS: what is shared is shared out) of a server with its children."""
    seconds, memory = 0.0, 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system
            memory += one.memory_full_info().pss
    return seconds, memory / 2**20


async def closed(url: str, request: Any, seconds: float, clients: int = 8) -> float:
    """Requests a second with `clients` that ask again as soon as they are answered."""
    async with grpc.aio.insecure_channel(url) as channel:
        stub, count = service_pb2_grpc.GRPCInferenceServiceStub(channel), 0
        until = monotonic() + seconds

        async def client() -> None:
            nonlocal count
            while monotonic() < until:
                await stub.ModelInfer(request, timeout=10)
                count += 1

        await asyncio.gather(*(client() for _ in range(clients)))
        return count / seconds


async def open_loop(url: str, request: Any, rate: float, seconds: float) -> tuple[list[float], list[str]]:
    """Milliseconds from each request's due time to its answer, at `rate` a second, and the errors."""
    took: list[float] = []
    errors: list[str] = []
    async with grpc.aio.insecure_channel(url) as channel:
        stub, started = service_pb2_grpc.GRPCInferenceServiceStub(channel), monotonic() + 0.1

        async def send(due: float) -> None:
            try:
                await stub.ModelInfer(request, timeout=10)
                took.append((monotonic() - due) * 1e3)
            except grpc.RpcError as error:
                errors.append(str(error.code()))

        # Only those on their way are kept: the collector walks over all that is, while requests are due.
        tasks: set[asyncio.Task[None]] = set()
        for number in range(int(rate * seconds)):
            due = started + number / rate
            wait = due - monotonic()
            # The loop must run now and then even when it is late, or nothing is sent.
            await asyncio.sleep(max(0.0, wait))
            task = asyncio.create_task(send(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return took, errors


def by_symbols(url: str, streamer: Streamer, bars: list[Any]) -> Callable[[], Any]:
    """Asks by symbols for the sleeves in turn; a new bar is published before every 20 requests."""
    client, asked = PredictionClient(url, MODEL), [0]

    def ask() -> Any:
        bar, sleeve = divmod(asked[0], len(SLEEVES))
        if sleeve == 0:
            streamer.publish(bars[bar], "bench")
        asked[0] += 1
        return client.forecast(SYMBOLS, bars[bar].timestamp, SLEEVES[sleeve])

    return ask


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
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    home = Path(tempfile.mkdtemp(prefix="alphaloop-bench-"))
    try:
        with ExitStack() as stack:
            run(arguments, home, stack)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
