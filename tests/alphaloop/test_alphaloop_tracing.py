"""No vendor's telemetry runs: sessions of ONNX Runtime leave no file and look up no name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from alphaloop.runtime.processes import QUIET_ENVIRONMENT

OPENERS = {
    "models": "from models.onnx.export import open_session as opened",
    "serving": (
        "from serving.inference.model_cache import _session; opened = lambda onnx: _session('m', '1', onnx)"
    ),
}
RUN = """
import sys, time
{opener}
session = opened(open(sys.argv[1], 'rb').read())
assert session.run(None, {{'x': __import__('numpy').ones(1, 'float32')}})[0].tolist() == [1.0]
time.sleep({seconds})
"""
# Answers for the name server of a network of its own, and tells how often it was asked.
NAMESPACE = """
import socket, subprocess, sys
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
subprocess.run(['mount', '--bind', sys.argv[1], '/etc/resolv.conf'], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('127.0.0.1', 53))
server.setblocking(False)
done = subprocess.run(sys.argv[2:], capture_output=True, text=True)
asked = 0
while True:
    try:
        server.recv(4096)
        asked += 1
    except BlockingIOError:
        break
print(asked, done.returncode, done.stderr[-300:])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that gives back its input."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", values[:1], values[1:]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("telemetry") / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def outside_ci(home: Path, **more: str) -> dict[str, str]:
    """An environment without CI, which hides the telemetry, and without our switches."""
    hidden = {"CI", "XDG_CACHE_HOME", *QUIET_ENVIRONMENT}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "HOME": str(home), **more}


@pytest.mark.parametrize("opener", OPENERS)
def test_a_session_leaves_no_file_in_the_home(opener: str, model: Path, tmp_path: Path) -> None:
    """Neither a device id nor a queue of events is written where a session of ONNX Runtime is made."""
    code = RUN.format(opener=OPENERS[opener], seconds=0.3)
    subprocess.run([sys.executable, "-c", code, str(model)], env=outside_ci(tmp_path), check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.long
def test_a_session_looks_up_no_name(model: Path, tmp_path: Path) -> None:
    """In a network of its own with a name server that listens, nobody asks it for 20 s (it began at 8)."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    apart = ["unshare", "--map-root-user", "--mount", "--net", sys.executable, "-c", NAMESPACE, str(resolver)]
    asked, code, stderr = in_namespace(
        [*apart, sys.executable, "-c", "import socket; socket.getfqdn('a.test')"]
    )
    assert (code, stderr) == (0, "") and asked > 0, "the name server of the test hears who asks"
    session = [sys.executable, "-c", RUN.format(opener=OPENERS["models"], seconds=20), str(model)]
    assert in_namespace([*apart, *session], outside_ci(tmp_path)) == (0, 0, "")


def in_namespace(command: list[str], environment: dict[str, str] | None = None) -> tuple[int, int, str]:
    """How often the name server was asked, and exit code and errors of the command."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode:
        assert os.environ.get("CI") != "true", done.stderr
        pytest.skip(f"no network of one's own can be made here: {done.stderr[-200:]}")
    asked, code, *stderr = done.stdout.split(maxsplit=2)
    return int(asked), int(code), "".join(stderr).strip()
