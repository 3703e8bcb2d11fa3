"""Time forecasts and health answers beside another client's large requests.

    python benchmarks/large_requests.py [--seconds 8]

Our single-process host and a bare `grpc.aio` + ONNX Runtime server serve the model of `serving_latency.py`.
One process asks for 20 symbols every 5 ms and for health every 20 ms; another sends a request of the largest
size that is allowed, again as soon as it is answered. The floor knows no JSON.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import SINGLE_THREAD_ENVIRONMENT, child_environment, free_port
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings

# `make bench` sets PYTHONSAFEPATH, which leaves a script's own folder out.
sys.path.append(str(Path(__file__).parent))

from latency.champion import FEATURES, HISTORY, LOOKBACK, MODEL, random_bars, register
from latency.servers import Servers

BYTES = 15 * 2**20
MAX_LATER_MS, MAX_HEALTH_MS = 50, 100
KINDS = ("none", "binary", "typed", "json", "zeros", "gzip")
FLOOR_KINDS = ("none", "binary")


def symbols_of(size: int) -> int:
    """As many symbols as have `size` values."""
    return size // (LOOKBACK * len(FEATURES))


def send(kind: str, grpc_url: str, http_port: int) -> None:
    """Send large requests of one kind, from a line on standard input until the next; print the answers."""
    ask = sender(kind, grpc_url, http_port)
    print("ready", flush=True)
    sys.stdin.readline()
    stop, answers = Event(), {}
    Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    while not stop.is_set():
        answer = ask()
        answers[answer] = answers.get(answer, 0) + 1
    print(", ".join(f"{count} x {answer}" for answer, count in answers.items()), flush=True)


def sender(kind: str, grpc_url: str, http_port: int) -> Any:
    """A function that sends one request of `kind` and says how it was answered."""
    if kind == "none":
        return lambda: sleep(0.05) or "nothing"
    if kind in ("binary", "typed"):
        return by_grpc(kind, grpc_url)
    count = symbols_of({"json": BYTES // 20, "gzip": BYTES // 20, "zeros": 2**22}[kind])
    shape = [count, LOOKBACK, len(FEATURES)]
    values = [0] if kind == "zeros" else np.random.default_rng(0).normal(size=shape).ravel().tolist()
    given = {"name": "panel", "datatype": "FP32", "shape": shape, "data": values}
    body = json.dumps({"inputs": [given]}, separators=(",", ":")).encode()
    if kind == "zeros":
        body = body.replace(b"[0]", b"[" + b"0," * (count * LOOKBACK * len(FEATURES) - 1) + b"0]")
    headers = {"Content-Type": "application/json"}
    if kind == "gzip":
        body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"

    def ask() -> str:
        connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=120)
        connection.request("POST", f"/v2/models/{MODEL}/infer", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return f"{answer.status} {'' if answer.status == 200 else said[:120].decode()}".strip()

    return ask


def by_grpc(kind: str, url: str) -> Any:
    """Sends a tensor of the largest size, as bytes or as typed contents."""
    import grpc
    from tritonclient.grpc import service_pb2

    shape = (symbols_of(BYTES // 4), LOOKBACK, len(FEATURES))
    panel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="panel", datatype="FP32", shape=shape)
    if kind == "binary":
        request.raw_input_contents.append(panel.tobytes())
    else:
        tensor.contents.fp32_contents.extend(panel.ravel().tolist())
    content = request.SerializeToString()
    channel = grpc.insecure_channel(url, options=[("grpc.max_receive_message_length", -1)])
    path = "/inference.GRPCInferenceService/ModelInfer"
    call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)

    def ask() -> str:
        try:
            call(content, timeout=120)
        except grpc.RpcError as error:
            return f"{error.code().name} {str(error.details())[:120]}"
        return "OK"

    return ask


def watch(servers: Servers, name: str, ask: Any, kind: str, http_port: int, seconds: float) -> None:
    """Print one row: how long forecasts and health answers took beside requests of `kind`."""
    command = [sys.executable, __file__, "--send", kind, servers.urls[name], str(http_port)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(SINGLE_THREAD_ENVIRONMENT),
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        for _ in range(100):
            ask()
        stop, health = Event(), list[float]()
        probe = Thread(target=probe_health, args=(http_port, stop, health))
        if name != "floor":
            probe.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        took, until = [], monotonic() + seconds
        while monotonic() < until:
            began = monotonic()
            ask()
            took.append((monotonic() - began) * 1e3)
            sleep(0.005)
        process.stdin.write("stop\n")
        process.stdin.flush()
        answers = process.stdout.readline().strip()
        stop.set()
        if name != "floor":
            probe.join()
    shares = np.percentile(took, (50, 99, 100))
    healthy = f"{max(health):8.1f}" if health else f"{'':8}"
    print(f"{name:9}{kind:8}{shares[0]:8.2f}{shares[1]:8.2f}{shares[2]:8.1f}{healthy}  {answers}", flush=True)


def probe_health(port: int, stop: Event, took: list[float]) -> None:
    """Ask for health every 20 ms, on a new connection as a probe does."""
    while not stop.is_set():
        began = monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/v2/health/live")
        connection.getresponse().read()
        connection.close()
        took.append((monotonic() - began) * 1e3)
        sleep(0.02)


def run(seconds: float, home: Path, stack: ExitStack) -> None:
    """Start both servers, and print a row for each kind of large request."""
    port = free_port()
    serving = ServingSettings(model=MODEL, http_port=port, metrics_port=0)
    settings = Settings(home=home / "home", serving=serving)
    servers = Servers(settings, register(settings, random_bars(HISTORY)), home, stack)
    print(
        f"forecasts beside requests of {BYTES / 2**20:g} MiB, ms; "
        f"at most {MAX_LATER_MS} ms longer than beside none, health within {MAX_HEALTH_MS} ms"
    )
    print(f"{'server':9}{'beside':8}{'p50':>8}{'p99':>8}{'max':>8}{'health':>8}  answers")
    for name, kinds in (("floor", FLOOR_KINDS), ("process", KINDS)):
        ask = servers.start(name)
        for kind in kinds:
            watch(servers, name, ask, kind, port, seconds)


def main() -> None:
    """Measure, or be the process that sends; everything lies in a temporary folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--send", nargs=3, metavar=("KIND", "GRPC_URL", "HTTP_PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        kind, url, port = arguments.send
        send(kind, url, int(port))
        return
    os.environ.update(SINGLE_THREAD_ENVIRONMENT)
    home = Path(tempfile.mkdtemp(prefix="alphaloop-bench-"))
    try:
        with ExitStack() as stack:
            run(arguments.seconds, home, stack)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
