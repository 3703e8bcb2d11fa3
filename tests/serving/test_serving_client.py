"""Both clients against servers that fail: other replicas, late answers, overload, TLS and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import InputError, ServingError, SettingsError
from alphaloop.runtime.processes import free_port
from alphaloop.telemetry import tracing
from serving.client.replica import BREAKER_COOLDOWN_SECONDS, ClientSecurity
from serving.client.retry_policy import RetrySettings

PANEL = np.zeros((1, 1, 1), np.float32)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def score(client: Any, deadline_ms: float | None = None) -> float:
    """Who answered."""
    return float(client.infer(PANEL, deadline_ms=deadline_ms)[0])


def test_replicas_are_asked_in_turn(make_client: Any, pair: Any) -> None:
    """Each of two replicas gets half of the requests, whether the urls are a list or a text."""
    _, _, urls = pair
    for url in (urls, ",".join(urls)):
        with make_client(url, "m") as client:
            assert sorted(score(client) for _ in range(6)) == [1.0] * 3 + [2.0] * 3


def test_a_client_needs_an_address(make_client: Any) -> None:
    """No url, or an empty one between commas, is refused at once."""
    for url in ("", [], "127.0.0.1:1,,127.0.0.1:2"):
        with pytest.raises(InputError, match="give host:port"):
            make_client(url, "m")


def test_live_and_ready_ask_any_server(make_client: Any, pair: Any) -> None:
    """One server that answers is enough; a model that nobody has is not ready, and nobody is not live."""
    nobody = f"127.0.0.1:{free_port()}"
    with make_client([nobody, pair[2][0]], "m") as client:
        assert (client.live(), client.ready()) == (True, True)
    with make_client(pair[2], "other") as client:
        assert (client.live(), client.ready()) == (True, False)
    with make_client(nobody, "m") as client:
        assert (client.live(), client.ready()) == (False, False)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "going away"),
        (grpc.StatusCode.CANCELLED, "stopped"),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 500"),
    ],
)
def test_a_broken_way_is_taken_again_elsewhere(make_client: Any, pair: Any, code: Any, details: str) -> None:
    """What one replica could not answer another does; the caller learns nothing of it."""
    first, _, urls = pair
    first.failures = [(code, details)]
    with make_client(urls, "m") as client:
        assert score(client) == 2.0
    assert first.asked == 1


def test_a_replica_that_is_gone_costs_no_request(make_client: Any, pair: Any) -> None:
    """Where nobody listens on one of two urls, every request is answered by the other."""
    _, _, urls = pair
    with make_client([f"127.0.0.1:{free_port()}", urls[1]], "m") as client:
        assert [score(client) for _ in range(10)] == [2.0] * 10


def test_an_answer_that_says_no_is_final(make_client: Any, pair: Any) -> None:
    """An error of the model is not asked again: another replica would say the same."""
    first, second, urls = pair
    first.failures = [(grpc.StatusCode.INTERNAL, "m version 1 gave a score that is not finite")]
    with make_client(urls, "m") as client, pytest.raises(ServingError, match=r"INTERNAL.*not finite"):
        score(client)
    assert (first.asked, second.asked) == (1, 0)


def test_an_overloaded_server_is_asked_again_when_it_says(make_client: Any, pair: Any) -> None:
    """The pause is the one that the server names, and where that is past the deadline nobody waits."""
    first, second, urls = pair
    overloaded = (grpc.StatusCode.RESOURCE_EXHAUSTED, "64 requests are being answered")
    with make_client(urls[0], "m") as client:
        first.failures, started = [overloaded], monotonic()
        assert score(client) == 1.0
        assert 0.03 <= monotonic() - started < 1.0
        assert (first.asked, second.asked) == (2, 0)
        first.failures, first.pushback_ms, started = [overloaded], "60000", monotonic()
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            score(client)
        assert monotonic() - started < 1.0


def test_a_late_answer_is_asked_of_another_too(make_client: Any, pair: Any) -> None:
    """A replica that hangs costs the hedge's time, not the deadline, while there is credit for it."""
    first, _, urls = pair
    first.delay = 30.0
    with make_client(urls, "m", retries=RetrySettings(hedge_ms=50, hedge_every=100)) as client:
        started = monotonic()
        assert score(client, deadline_ms=10_000) == 2.0
        assert monotonic() - started < 5.0
        # The credit is spent: of the next requests those that meet the replica wait for their deadline.
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            for _ in range(2):
                score(client, deadline_ms=200)


def test_a_late_server_without_another_is_asked_once(make_client: Any, pair: Any) -> None:
    """Where no second server can be asked, a late answer is waited for and costs no second prediction."""
    first, second, urls = pair
    first.delay = 0.2
    with make_client(urls[0], "m", retries=RetrySettings(hedge_ms=20, hedge_every=1)) as client:
        assert (score(client), first.asked) == (1.0, 1)
    with make_client(urls, "m", retries=RetrySettings(hedge_ms=20, hedge_every=1)) as client:
        for server in client._pool.servers[1:]:
            server.breaker.trip()
        assert (score(client), first.asked, second.asked) == (1.0, 2, 0)


def test_without_hedges_the_deadline_is_waited_for(make_client: Any, pair: Any) -> None:
    """With `hedge_ms` 0 a replica that hangs is waited for until the client's deadline, and no longer."""
    first, second, urls = pair
    first.delay, started = 30.0, monotonic()
    client = make_client(urls, "m", retries=RetrySettings(hedge_ms=0), deadline_ms=300)
    with client, pytest.raises(ServingError, match=rf"{urls[0]} gave no prediction: .*DEADLINE_EXCEEDED"):
        score(client)
    assert 0.3 <= monotonic() - started < 2.0
    assert (first.asked, second.asked) == (1, 0)


def test_a_server_that_keeps_failing_is_left_alone(make_client: Any, pair: Any) -> None:
    """After its failures nobody asks it for a while; then one request tries it, and it is back."""
    first, _, urls = pair
    first.failures = [(grpc.StatusCode.UNAVAILABLE, "going away")] * 3
    with make_client(urls, "m") as client:
        assert [score(client) for _ in range(12)] == [2.0] * 12
        assert first.asked == 3
        sleep(BREAKER_COOLDOWN_SECONDS + 0.05)
        assert 1.0 in [score(client) for _ in range(3)]


def test_a_server_that_comes_back_is_found_again(make_client: Any, replicas: Any) -> None:
    """A lone server that was restarted answers the same client soon, without a new one."""
    port, one, other = free_port(), replicas(1.0), replicas(3.0)
    with make_client(f"127.0.0.1:{port}", "m") as client:
        one.start(port)
        assert score(client) == 1.0
        one.stop()
        with pytest.raises(ServingError, match="UNAVAILABLE"):
            score(client, deadline_ms=300)
        other.start(port)
        until = monotonic() + 10
        answer = None
        while answer is None and monotonic() < until:
            try:
                answer = score(client)
            except ServingError:
                sleep(0.05)
        assert answer == 3.0


def test_a_stranger_is_no_server_of_forecasts(make_client: Any, pair: Any, world: Any) -> None:
    """An answer of the protocol without our lineage is an error that says so."""
    with make_client(pair[2], "m") as client, pytest.raises(ServingError, match="is not an alphaloop server"):
        client.forecast(["S00"], world.bar)


def test_the_trace_goes_with_the_question(
    make_client: Any, pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is told the span that asks."""
    monkeypatch.setattr(tracing, "current_traceparent", lambda: TRACEPARENT)
    with make_client(pair[2][0], "m") as client:
        score(client)
    assert pair[0].metadata["traceparent"] == TRACEPARENT


def test_tls_and_a_token_reach_the_server(make_client: Any, replicas: Any, tmp_path: Path) -> None:
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
    security = ClientSecurity(
        tmp_path / "ca.pem", tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "token"
    )
    replica = replicas(1.0)
    url = replica.start(credentials=credentials)
    with make_client(url, "m", security=security) as client:
        assert score(client) == 1.0
    assert replica.metadata["authorization"] == "Bearer secret"
    without = ClientSecurity(tmp_path / "ca.pem")
    with make_client(url, "m", security=without) as client, pytest.raises(ServingError):
        score(client, deadline_ms=500)


def test_a_token_does_not_leave_the_machine_in_clear_text(make_client: Any, tmp_path: Path) -> None:
    """Without TLS a token for another host is refused, though it call itself 127, and loopback is not."""
    (tmp_path / "token").write_text("secret")
    security = ClientSecurity(token=tmp_path / "token")
    for url in ("example.com:8001", "127.0.0.1.example.com:8001", "127.0.0.1:1,10.0.0.1:1"):
        with pytest.raises(SettingsError, match=r"would go to .*:\d in clear text|8001 in clear text"):
            make_client(url, "m", security=security)
    with make_client("127.0.0.1:1,localhost:1,[::1]:1,unix:/tmp/socket", "m", security=security):
        pass
