"""The same calls of unmodified tritonclient against this server and MLServer, and where they differ.

MLServer is installed into an environment of its own in a temporary folder. Differences are written, with
the specification's words, to docs/evidence/conformance.txt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest
from tritonclient.utils import InferenceServerException

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import child_environment, free_port

from .protocol_calls import MODEL, Target
from .protocol_cases import CASES, observe

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "conformance.txt"
START_SECONDS = 120.0

RUNTIME = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse


class Linear(MLModel):
    async def predict(self, payload):
        (one,) = payload.inputs
        if one.name != "panel":
            raise InferenceError(f"there is no input '{one.name}'")
        panel = NumpyCodec.decode_input(one)
        scores = (panel[:, -1] @ np.array([1, 2, 3], np.float32)).astype(np.float32)
        outputs = [
            NumpyCodec.encode_output("scores", scores),
            StringCodec.encode_output("statuses", ["ok"] * len(scores)),
        ]
        for output in outputs:
            # The codecs make columns of vectors.
            output.shape = [len(scores)]
        asked = {output.name for output in payload.outputs or []}
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[output for output in outputs if not asked or output.name in asked],
        )
"""
TENSORS = {
    "inputs": [{"name": "panel", "datatype": "FP32", "shape": [-1, 2, 3]}],
    "outputs": [
        {"name": "scores", "datatype": "FP32", "shape": [-1]},
        {"name": "statuses", "datatype": "BYTES", "shape": [-1]},
    ],
}


def absent(reason: str) -> NoReturn:
    """What a test says whose server is not there: on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """MLServer with a runtime that computes the same."""
    folder = tmp_path_factory.mktemp("mlserver")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    installed = subprocess.run(
        [binaries / "pip", "install", "--quiet", "--disable-pip-version-check", "mlserver"],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    if installed.returncode:
        absent(f"MLServer cannot be installed here: {installed.stderr.strip()[-200:]}")
    models = folder / "models"
    models.mkdir()
    target = Target(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    (models / "linear.py").write_text(RUNTIME)
    (models / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None, "debug": False,
                "grpc_port": int(target.grpc_url.split(":")[1]),
                "http_port": int(target.http_url.split(":")[1]), "metrics_port": free_port(),
            }
        )
    )  # fmt: skip
    declared = {"name": MODEL, "implementation": "linear.Linear", "parameters": {"version": "1"}} | TENSORS
    (models / "model-settings.json").write_text(json.dumps(declared))
    with ExitStack() as stack:
        output = stack.enter_context((folder / "log").open("w"))
        child = stack.enter_context(
            subprocess.Popen(
                [binaries / "mlserver", "start", "."], cwd=models, stdout=output, stderr=output,
                env=child_environment(),
            )
        )  # fmt: skip
        stack.callback(child.terminate)
        if not is_up(target, child):
            absent(f"MLServer does not start here: {(folder / 'log').read_text()[-400:]}")
        yield target


def is_up(target: Target, child: subprocess.Popen[bytes]) -> bool:
    """Whether the server answers in time."""
    deadline = monotonic() + START_SECONDS
    with target.grpc() as client:
        while monotonic() < deadline and child.poll() is None:
            try:
                if client.is_model_ready(MODEL):
                    return True
            except InferenceServerException:
                sleep(0.2)
    return False


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_differences_from_mlserver_are_written_down(ours: Target, mlserver: Target) -> None:
    """Every case is asked of both servers; what differs is listed with the specification's words."""
    rows = [(case, observe(case, ours), observe(case, mlserver)) for case in CASES]
    same = [case for case, mine, theirs in rows if mine == theirs]
    lines = [
        "The same calls of unmodified tritonclient against alphaloop's process host and MLServer.",
        "Specification: https://github.com/kserve/open-inference-protocol (specification/protocol).",
        f"Python {sys.version.split()[0]}; {len(rows)} cases, {len(same)} alike.",
        "",
        "Alike:",
        *(f"  {case.name}" for case in same),
        "",
        "Different:",
    ]
    for case, mine, theirs in rows:
        if mine != theirs:
            quoted = textwrap.fill(case.words, 96, initial_indent=" " * 4, subsequent_indent=" " * 4)
            lines += [f"  {case.name}", f"    alphaloop: {mine}", f"    MLServer:  {theirs}", quoted, ""]
    EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
    EVIDENCE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    assert len(same) > len(rows) / 2
    assert all(mine == case.expected for case, mine, _ in rows)
