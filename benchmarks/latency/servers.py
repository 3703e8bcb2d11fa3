"""The servers that are measured, ours and peers, each in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import SINGLE_THREAD_ENVIRONMENT, child_environment, free_port
from alphaloop.settings.settings import Settings
from models.registry.configured_registry import configured_registry
from serving.exports.bento import export_bento
from serving.exports.exported_version import ExportedVersion

from .champion import FEATURES, LOOKBACK, MODEL

PEERS = Path(__file__).parents[1] / "peers"
SERVERS = ("floor", "process", "ray", "mlserver", "bentoml", "mlflow")
OURS = ("process", "ray")


@contextmanager
def child(command: list[str], extra: dict[str, str] | None = None, cwd: Path | None = None) -> Iterator[Any]:
    """A server in a process of its own, ended by SIGTERM."""
    environment = child_environment({**SINGLE_THREAD_ENVIRONMENT, **(extra or {})})
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
        exported = ExportedVersion.read(configured_registry(self._settings), MODEL)
        folder, home = export_bento(exported, self._scratch / "bento"), self._scratch / "bentoml"
        home.mkdir()
        command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1"]
        extra = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
        return [*command, "--port", str(port)], extra, None

    def _mlflow(self, port: int) -> tuple[list[str], dict[str, str], None]:
        registry = configured_registry(self._settings)
        (model,) = (registry.folder / "artifacts").glob("*/artifacts/model")
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


def usage(process: psutil.Process) -> tuple[float, float]:
    """Seconds of CPU and MiB of memory (PSS: what is shared is shared out) of a server with its children."""
    seconds, memory = 0.0, 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system
            memory += one.memory_full_info().pss
    return seconds, memory / 2**20
