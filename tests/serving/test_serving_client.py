"""The client against servers that fail: other replicas, late answers, overload, TLS and tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError, SettingsError
from alphaloop.processes import free_port
from serving.asking import Patience
from serving.client import PredictionClient
from serving.transport import COOLDOWN_SECONDS, Security

PANEL = np.zeros((1, 1, 1), np.float32)


class Replica(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server that speaks the protocol and fails as it is told; it counts what it is asked."""

    def __init__(self, score: float) -> None:
        self.score, self.asked, self.metadata = score, 0, {}
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.delay = 0.0
        self.going_on = threading.Event()

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.asked += 1
        self.metadata = dict(context.invocation_metadata())
        if self.delay:
            self.going_on.wait(self.delay)
        if self.failures:
            code, details = self.failures.pop(0)
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", "30"),))
            context.abort(code, details)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="scores", datatype="FP32", shape=[1])
        answer.raw_output_contents.append(np.array([self.score], "<f4").tobytes())
        return answer


@contextmanager
def serving(replica: Replica, port: int, credentials: Any = None) -> Iterator[str]:
    """The replica on a port of loopback."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(replica, server)
    if credentials is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        replica.going_on.set()
        server.stop(0).wait()


@pytest.fixture
def pair() -> Iterator[tuple[Replica, Replica, list[str]]]:
    """Two replicas and their urls."""
    first, second = Replica(1.0), Replica(2.0)
    with serving(first, free_port()) as one, serving(second, free_port()) as other:
        yield first, second, [one, other]


def score(client: PredictionClient, deadline_ms: float = 2_000) -> float:
    """Who answered."""
    return float(client.infer(PANEL, deadline_ms=deadline_ms)[0])


def test_replicas_are_asked_in_turn(pair: Any) -> None:
    """Each of two replicas gets half of the requests, whether the urls are a list or a text."""
    _, _, urls = pair
    for url in (urls, ",".join(urls)):
        with PredictionClient(url, "m") as client:
            assert sorted(score(client) for _ in range(6)) == [1.0] * 3 + [2.0] * 3


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "going away"),
        (grpc.StatusCode.CANCELLED, "stopped"),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 500"),
    ],
)
def test_a_broken_way_is_taken_again_elsewhere(pair: Any, code: Any, details: str) -> None:
    """What one replica could not answer another does; the caller learns nothing of it."""
    first, _, urls = pair
    first.failures = [(code, details)]
    with PredictionClient(urls, "m") as client:
        assert score(client) == 2.0
    assert first.asked == 1


def test_a_replica_that_is_gone_costs_no_request(pair: Any) -> None:
    """Where nobody listens on one of two urls, every request is answered by the other."""
    _, _, urls = pair
    with PredictionClient([f"127.0.0.1:{free_port()}", urls[1]], "m") as client:
        assert [score(client) for _ in range(10)] == [2.0] * 10


def test_an_answer_that_says_no_is_final(pair: Any) -> None:
    """An error of the model is not asked again: another replica would say the same."""
    first, second, urls = pair
    first.failures = [(grpc.StatusCode.INTERNAL, "m version 1 gave a score that is not finite")]
    with PredictionClient(urls, "m") as client, pytest.raises(ServingError, match=r"INTERNAL.*not finite"):
        score(client)
    assert (first.asked, second.asked) == (1, 0)


def test_an_overloaded_server_is_asked_again_when_it_says(pair: Any) -> None:
    """The pause is the one that the server names."""
    first, second, urls = pair
    first.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "64 requests are being answered")]
    with PredictionClient(urls[0], "m") as client:
        started = monotonic()
        assert score(client) == 1.0
    assert 0.03 <= monotonic() - started < 1.0
    assert (first.asked, second.asked) == (2, 0)


def test_a_late_answer_is_asked_of_another_too(pair: Any) -> None:
    """A replica that hangs costs the hedge's time, not the deadline, while there is credit for it."""
    first, _, urls = pair
    first.delay = 30.0
    with PredictionClient(urls, "m", patience=Patience(hedge_ms=50, hedge_every=100)) as client:
        started = monotonic()
        assert score(client, deadline_ms=10_000) == 2.0
        assert monotonic() - started < 5.0
        # The credit is spent: of the next requests those that meet the replica wait for their deadline.
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            for _ in range(2):
                score(client, deadline_ms=200)


def test_a_server_that_keeps_failing_is_left_alone(pair: Any) -> None:
    """After its failures nobody asks it for a while; then one request tries it, and it is back."""
    first, _, urls = pair
    first.failures = [(grpc.StatusCode.UNAVAILABLE, "going away")] * 3
    with PredictionClient(urls, "m") as client:
        assert [score(client) for _ in range(12)] == [2.0] * 12
        assert first.asked == 3
        sleep(COOLDOWN_SECONDS + 0.05)
        assert 1.0 in [score(client) for _ in range(3)]


def test_a_server_that_comes_back_is_found_again() -> None:
    """A lone server that was restarted answers the same client soon, without a new one."""
    port = free_port()
    with PredictionClient(f"127.0.0.1:{port}", "m") as client:
        with serving(Replica(1.0), port):
            assert score(client) == 1.0
        with pytest.raises(ServingError, match="UNAVAILABLE"):
            score(client, deadline_ms=300)
        with serving(Replica(3.0), port):
            until = monotonic() + 10
            answer = None
            while answer is None and monotonic() < until:
                try:
                    answer = score(client)
                except ServingError:
                    sleep(0.05)
            assert answer == 3.0


def test_tls_and_a_token_reach_the_server(tmp_path: Path) -> None:
    """The server is known by its authority, the client by its certificate and its token."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own, theirs = authority.issue_cert("client"), authority.issue_cert("127.0.0.1", "localhost")
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    (tmp_path / "token").write_text("secret\n")
    credentials = grpc.ssl_server_credentials(
        [(theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    security = Security(tmp_path / "ca.pem", tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "token")
    replica, port = Replica(1.0), free_port()
    with serving(replica, port, credentials) as url:
        with PredictionClient(url, "m", security=security) as client:
            assert score(client) == 1.0
        assert replica.metadata["authorization"] == "Bearer secret"
        without = Security(tmp_path / "ca.pem")
        with PredictionClient(url, "m", security=without) as client, pytest.raises(ServingError):
            score(client, deadline_ms=500)


def test_a_token_does_not_leave_the_machine_in_clear_text(tmp_path: Path) -> None:
    """Without TLS a token for another host is refused, and a file that is missing is named."""
    (tmp_path / "token").write_text("secret")
    with pytest.raises(SettingsError, match=r"example\.com:8001 in clear text"):
        PredictionClient("example.com:8001", "m", security=Security(token=tmp_path / "token"))
    with pytest.raises(SettingsError, match="nothing cannot be read"):
        PredictionClient("127.0.0.1:1", "m", security=Security(authority=tmp_path / "nothing"))
    PredictionClient("127.0.0.1:1", "m", security=Security(token=tmp_path / "token")).close()
