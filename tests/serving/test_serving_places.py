"""Places of `serving.max_in_flight` are held by what is being computed, and by nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.protocol.errors import OverloadedError
from serving.server.grpc import grpc_server
from serving.server.http import http_body
from serving.server.http.http_body import MAX_UNFINISHED_BODIES, UNCOUNTED_BYTES, BodyReader, LateBodyError

PLACES = 4
INFER = "/inference.GRPCInferenceService/ModelInfer"
PANEL = {"name": "panel", "datatype": "FP32", "shape": [2, 2, 3], "data": [0.0] * 12}


@pytest.fixture
def host(world: Any, shelf: Any) -> Iterator[tuple[ProcessHost, str]]:
    """A host with few places, and the name of its model."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    settings = world.settings(model=shelf.name, http_port=free_port(), max_in_flight=PLACES)
    with ProcessHost(settings, free_port()) as made:
        yield made, shelf.name


def request(model: str, symbols: int = 2) -> Any:
    """A request by tensor."""
    message = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[bytes(symbols * 24)])
    message.inputs.add(name="panel", datatype="FP32", shape=[symbols, 2, 3])
    return message


def ask(host: ProcessHost, model: str) -> tuple[int, int]:
    """The symbols of an answer over gRPC, and the status of one over HTTP."""
    with grpc.insecure_channel(host.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        symbols = int(stub.ModelInfer(request(model), timeout=5).outputs[0].shape[0])
    line = HTTPConnection(*host.http_url.split(":"), timeout=5)
    line.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [PANEL]}))
    status = line.getresponse().status
    line.close()
    return symbols, status


def answers_on(host: ProcessHost, model: str) -> bool:
    """Whether both wires answer ten times in a row: until a stream stands still, it may well hold a place."""
    end, answered = monotonic() + 20, 0
    while monotonic() < end and answered < 10:
        try:
            answered = answered + 1 if ask(host, model) == (2, 200) else 0
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            answered = 0
        sleep(0.05)
    return answered == 10


def half(host: ProcessHost, model: str, header: str = "") -> socket.socket:
    """A connection that has sent the head of a request, and not its body."""
    address, port = host.http_url.split(":")
    line = socket.create_connection((address, int(port)), timeout=5)
    line.sendall(
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n{header}Content-Length: 99\r\n\r\n".encode()
    )
    return line


def test_bodies_that_never_come_hold_no_place(host: Any) -> None:
    """As many unfinished HTTP requests as there are places: both wires answer on."""
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(half(*host))
        sleep(0.2)
        assert ask(*host) == (2, 200)


def test_the_deadline_of_a_request_counts_for_its_body(host: Any) -> None:
    """A body that is not here when `x-request-timeout-ms` is over gets 504, and its connection is closed."""
    with half(*host, "x-request-timeout-ms: 100\r\n") as line:
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 504")
    assert b"the body was not here within 0.1 s" in answer


def test_a_body_without_a_deadline_is_waited_for_some_seconds(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a deadline a body that does not come ends its connection too."""
    monkeypatch.setattr(http_body, "MAX_BODY_SECONDS", 0.2)
    with half(*host) as line:
        assert b"".join(iter(lambda: line.recv(4096), b"")).startswith(b"HTTP/1.1 504")


def test_calls_whose_message_never_comes_hold_no_place(host: Any) -> None:
    """As many gRPC calls without their message as there are places: both wires answer on."""
    served, model = host
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(30)
        yield from ()

    with grpc.insecure_channel(served.url) as channel:
        call = channel.stream_unary(INFER)
        calls = [call.future(nothing()) for _ in range(PLACES)]
        sleep(0.3)
        try:
            assert ask(served, model) == (2, 200)
        finally:
            never.set()
            for one in calls:
                one.cancel()


def test_streams_whose_answers_nobody_reads_hold_no_place(host: Any) -> None:
    """As many streams as there are places, of which no answer is taken: both wires answer on."""
    served, model = host
    content = request(model, 400)
    done = threading.Event()

    def requests() -> Iterator[Any]:
        for _ in range(300):
            yield content
        done.wait(30)

    with ExitStack() as stack:
        calls = []
        for _ in range(PLACES):
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
            channel = stack.enter_context(grpc.insecure_channel(served.url, options=options))
            calls.append(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests()))
        try:
            assert answers_on(served, model)
        finally:
            done.set()
            for one in calls:
                one.cancel()


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def test_a_call_of_a_client_that_vanished_is_ended(
    world: Any, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that opens a call, sends no message and answers no ping is cut off."""
    monkeypatch.setattr(grpc_server, "PING_MS", 1_000)
    monkeypatch.setattr(grpc_server, "PONG_MS", 500)
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    wanted = {":method": "POST", ":scheme": "http", ":path": INFER, ":authority": "x"}
    wanted |= {"te": "trailers", "content-type": "application/grpc"}
    # Literals that are not indexed (RFC 7541, section 6.2.2); both lengths are below 127.
    head = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in wanted.items()
    )
    with ProcessHost(world.settings(model=shelf.name), free_port()) as host:
        address, port = host.url.split(":")
        with socket.create_connection((address, int(port)), timeout=10) as line:
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(4, 1, 0))
            line.sendall(frame(1, 4, 1, head))
            begun = monotonic()
            answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert monotonic() - begun < 9
    assert frame(6, 0, 0, bytes(8))[:9] in answer


class Sending:
    """An HTTP request that sends so many bytes and then nothing."""

    def __init__(self, *chunks: int) -> None:
        self._chunks = list(chunks)

    async def receive(self) -> dict[str, Any]:
        if not self._chunks:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": bytes(self._chunks.pop(0)), "more_body": True}


def test_unfinished_bodies_share_one_bound() -> None:
    """Beyond a few of the largest size the next is refused; the bytes of those that end are given back."""
    most = 10 * UNCOUNTED_BYTES

    async def fill() -> tuple[int, list[type[Exception]], int]:
        reader = BodyReader(most)
        count = MAX_UNFINISHED_BODIES + 2
        waiting = [asyncio.create_task(reader.read(Sending(most), 0.3)) for _ in range(count)]
        await asyncio.sleep(0.1)
        held = reader.unfinished_bytes
        small = asyncio.create_task(reader.read(Sending(UNCOUNTED_BYTES), 0.1))
        ends = await asyncio.gather(*waiting, small, return_exceptions=True)
        return held, [type(one) for one in ends if isinstance(one, Exception)], reader.unfinished_bytes

    held, ends, after = asyncio.run(fill())
    assert held <= MAX_UNFINISHED_BODIES * most
    assert set(ends[:-1]) == {LateBodyError, OverloadedError}
    assert ends[-1] is LateBodyError
    assert after == 0
