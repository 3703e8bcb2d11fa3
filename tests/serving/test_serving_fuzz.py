"""Fuzzed and truncated requests over both wires: no crash, no hang, no growth, a correct status each."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.runtime.processes import child_environment, free_port

SERVE = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts.process import ProcessHost
ProcessHost(Settings.model_validate_json(sys.argv[1])).run_forever(lambda url: print(url, flush=True))
"""
SECONDS = 10
GROWTH = 1.05
# What a client may have done wrong. INTERNAL, UNKNOWN or DATA_LOSS would be the server's fault.
ANSWERS = {
    "OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED",
}  # fmt: skip
STATUSES = {200, 400, 404, 405, 409, 413, 429, 431, 504}
TEXTS = (
    "",
    "x",
    "panel",
    "symbols",
    "FP32",
    "BYTES",
    "FP64",
    "scores",
    "é" * 9,
    "\0",
    "'; --",
    "a/b",
    "%2e",
    "9" * 40,
)
NUMBERS = (0, 1, -1, 2, 3, 5, 2**31, 2**63 - 1, -(2**63), 10**6)


@dataclass(frozen=True)
class Child:
    """A server in a process of its own."""

    process: psutil.Process
    grpc_url: str
    http_port: int
    model: str
    bar: str

    def memory(self) -> int:
        """Bytes that it holds of its own."""
        return int(self.process.memory_full_info().uss)


@pytest.fixture(scope="module")
def child(world: Any, module_shelf: Any) -> Iterator[Child]:
    """One server for both wires; it must still be there, and drain, at the end."""
    module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    grpc_port, http_port = free_port(), free_port()
    settings = world.settings(
        model=module_shelf.name, grpc_port=grpc_port, http_port=http_port, max_request_bytes=200_000
    )
    command = [sys.executable, "-c", SERVE, settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as started:
        assert started.stdout is not None
        url = started.stdout.readline().strip()
        bar = world.bar.isoformat()
        yield Child(psutil.Process(started.pid), url, http_port, module_shelf.name, bar)
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) == 0


class Fuzzer:
    """Requests drawn from one seed: good ones, changed in what they say or in their bytes."""

    def __init__(self, seed: int, child: Child) -> None:
        self.chance, self._model, self._bar = random.Random(seed), child.model, child.bar

    def message(self) -> Any:
        """A request of the protocol, more often wrong than right in one or more places."""
        made = self._good()
        for _ in range(self.chance.choice((0, 1, 1, 2, 5))):
            self._spoil(made)
        return made

    def content(self) -> bytes:
        """The bytes of a request, sometimes truncated, flipped or replaced."""
        return self.damage(self.message().SerializeToString())

    def damage(self, content: bytes) -> bytes:
        """`content`, in half of the cases cut, flipped, grown or replaced."""
        chance = self.chance
        kind = chance.randrange(8)
        if kind == 0:
            return content[: chance.randrange(len(content) + 1)]
        if kind == 1 and content:
            spoiled = bytearray(content)
            for _ in range(chance.randint(1, 8)):
                spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
            return bytes(spoiled)
        if kind == 2:
            return content + chance.randbytes(chance.randrange(64))
        if kind == 3:
            return chance.randbytes(chance.randrange(256))
        return content

    def body(self) -> dict[str, Any]:
        """A JSON request, wrong in one or more places."""
        chance = self.chance
        values: list[Any] = [None, [], {}, 0, -1, 1e999, "x", True, [[1], 2], [None] * 12, [0.5] * 12, 2**70]
        tensor: dict[str, Any] = {"name": "panel", "shape": [2, 2, 3], "datatype": "FP32", "data": [0.5] * 12}
        body: dict[str, Any] = {"id": "i", "inputs": [tensor], "parameters": {"route_key": "sleeve-01"}}
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            target = chance.choice([body, tensor, body.get("parameters", {})])
            if isinstance(target, dict):
                names = [*target, "outputs", "as_of", "timeout", "min_generation", "binary_data_size"]
                target[chance.choice(names)] = deepcopy(chance.choice(values))
        return body

    def _good(self) -> Any:
        made = service_pb2.ModelInferRequest(model_name=self._model, id="fuzz")
        if self.chance.random() < 0.5:
            tensor = made.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
            if self.chance.random() < 0.3:
                tensor.contents.fp32_contents.extend([0.5] * 12)
            else:
                made.raw_input_contents.append(np.ones(12, "<f4").tobytes())
        else:
            made.inputs.add(name="symbols", datatype="BYTES", shape=[2])
            made.raw_input_contents.append(b"\3\0\0\0S00\3\0\0\0S01")
            made.parameters["as_of"].string_param = self._bar
        return made

    def _spoil(self, made: Any) -> None:
        chance = self.chance
        text, number = chance.choice(TEXTS), chance.choice(NUMBERS)
        kind = chance.randrange(10)
        if kind == 0:
            made.model_name = text
        elif kind == 1:
            made.model_version = chance.choice((text, str(number)))
        elif kind == 2 and made.inputs:
            made.inputs[0].name = text
        elif kind == 3 and made.inputs:
            made.inputs[0].datatype = text
        elif kind == 4 and made.inputs:
            made.inputs[0].shape[:] = [chance.choice(NUMBERS) for _ in range(chance.randrange(5))]
        elif kind == 5:
            made.raw_input_contents[:] = [chance.randbytes(chance.randrange(80))] * chance.randrange(3)
        elif kind == 6:
            name = chance.choice(("as_of", "route_key", "min_generation", "timeout", text))
            field = chance.choice(("string_param", "int64_param", "bool_param", "double_param"))
            value = {"string_param": text, "int64_param": number, "bool_param": True, "double_param": 0.5}[
                field
            ]
            setattr(made.parameters[name], field, value)
        elif kind == 7:
            made.outputs.add(name=text)
        elif kind == 8:
            made.inputs.add(name=text, datatype=text, shape=[number])
        else:
            special = np.array([np.nan, np.inf, -np.inf, 1e38], "<f4")
            made.raw_input_contents[:] = [np.resize(special, 12).tobytes()]


def over_grpc(child: Child, count: int, seed: int) -> Counter[str]:
    """Send `count` requests; how often each status came."""
    fuzzer, found = Fuzzer(seed, child), Counter[str]()
    prefix = "/inference.GRPCInferenceService/"
    with grpc.insecure_channel(child.grpc_url) as channel:
        infer = channel.unary_unary(f"{prefix}ModelInfer")
        others = [
            channel.unary_unary(prefix + name)
            for name in ("ModelMetadata", "ModelConfig", "ModelStatistics", "ModelReady", "ServerLive")
        ]
        stream = channel.stream_stream(f"{prefix}ModelStreamInfer")
        for number in range(count):
            content = fuzzer.content()
            call = fuzzer.chance.choice(others) if number % 10 == 9 else infer
            try:
                if number % 25 == 24:
                    list(stream(iter([content, fuzzer.content()]), timeout=SECONDS))
                else:
                    call(content, timeout=SECONDS)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
                assert error.details()
            found[code] += 1
            assert code in ANSWERS, (code, content)
            if call is infer and number % 25 != 24:
                assert is_right(code, content), (code, content)
    return found


def is_right(code: str, content: bytes) -> bool:
    """Whether what is certainly no message was refused as such."""
    try:
        service_pb2.ModelInferRequest.FromString(content)
    except DecodeError:
        return code == "INVALID_ARGUMENT"
    return True


def over_http(child: Child, count: int, seed: int) -> Counter[int]:
    """Send `count` requests; how often each status came (0: the connection was closed)."""
    fuzzer, found = Fuzzer(seed, child), Counter[int]()
    connection = HTTPConnection("127.0.0.1", child.http_port, timeout=SECONDS)
    for number in range(count):
        try:
            status = garbage(child, fuzzer) if number % 20 == 19 else ask(connection, child, fuzzer)
        except (HTTPException, ConnectionError):
            connection.close()
            status = 0
        found[status] += 1
        assert status in STATUSES | {0}, status
    connection.close()
    return found


def ask(connection: HTTPConnection, child: Child, fuzzer: Fuzzer) -> int:
    """One request that is HTTP, with whatever body and headers."""
    chance = fuzzer.chance
    body = fuzzer.damage(json.dumps(fuzzer.body()).encode())
    headers: dict[str, str] = {}
    if chance.random() < 0.3:
        headers["Inference-Header-Content-Length"] = chance.choice(
            ("0", "5", str(len(body)), "-1", "1e9", "x")
        )
    if chance.random() < 0.1:
        headers["Content-Encoding"] = chance.choice(("gzip", "deflate", "br", "x"))
    if chance.random() < 0.1:
        headers["X-Request-Timeout-Ms"] = chance.choice(("5000", "nan", "-1", "x", "1e400"))
    path = chance.choice([f"/v2/models/{child.model}/infer"] * 6 + [
        "/v2/repository/index", "/v2/repository/models/x/unload", "/v2/models/stats", "/%ff",
        f"/v2/models/{child.model}/versions/99/infer", "/v2/models/%00/infer", "/v2/models//infer", "/v2",
        "/v2/models/x/config",
    ])  # fmt: skip
    connection.request("POST" if chance.random() < 0.9 else "GET", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status not in {200, 404, 405}:
        assert json.loads(content)["error"]
    return response.status


def garbage(child: Child, fuzzer: Fuzzer) -> int:
    """One connection on which comes what need not be HTTP; the status, if there is one."""
    good = (
        b"POST /v2/models/x/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{}  "
    )
    with socket.create_connection(("127.0.0.1", child.http_port), timeout=SECONDS) as line:
        line.sendall(fuzzer.damage(good))
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := line.recv(4_096):
            answer += chunk
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def answers(child: Child) -> bool:
    """Whether a good request still gets its scores."""
    message = service_pb2.ModelInferRequest(
        model_name=child.model, raw_input_contents=[np.ones(12, "<f4").tobytes()]
    )
    message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    with grpc.insecure_channel(child.grpc_url) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=SECONDS)
    return bool(np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [6.0, 6.0])


def fuzz(child: Child, count: int) -> tuple[Counter[str], Counter[int], float]:
    """`count` requests over each wire after a tenth of them for warming; statuses, and growth of memory."""
    for _ in range(2):
        over_grpc(child, max(200, count // 10), 1)
        over_http(child, max(200, count // 10), 2)
    before = child.memory()
    found = over_grpc(child, count, 3), over_http(child, count, 4)
    assert answers(child)
    return (*found, child.memory() / before)


def test_a_thousand_fuzzed_requests(child: Child) -> None:
    """Five hundred over each wire: each gets a status that blames the client, none costs memory."""
    codes, statuses, growth = fuzz(child, 500)
    assert codes["INVALID_ARGUMENT"] > 100
    assert codes["OK"] > 20
    assert codes["NOT_FOUND"] > 5
    assert statuses[400] > 100
    assert statuses[200] > 10
    assert growth <= GROWTH


@pytest.mark.long
@pytest.mark.timeout(3_000)
def test_a_hundred_thousand_fuzzed_requests(child: Child) -> None:
    """The same with fifty thousand over each wire."""
    codes, statuses, growth = fuzz(child, 50_000)
    print(f"gRPC {dict(codes)}; HTTP {dict(statuses)}; memory x {growth:.4f}")
    assert growth <= GROWTH
