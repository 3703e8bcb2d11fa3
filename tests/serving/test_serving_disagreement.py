"""Forecasts that fail for TLS, or because all are left alone: the error says why, and others pay nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError, TlsError
from alphaloop.runtime.processes import free_port
from serving.client import tls_diagnosis
from serving.client.async_client import AsyncPredictionClient
from serving.client.replica import BREAKER_COOLDOWN_SECONDS, ClientSecurity
from serving.client.retry_policy import RetrySettings

BAR = datetime(2019, 1, 3, tzinfo=UTC)
PANEL = np.zeros((1, 1, 1), np.float32)
LONG_MS = 20_000.0


class Certified:
    """An authority's file, a stranger's, and credentials of a server."""

    def __init__(self, folder: Path) -> None:
        ours, self.authority, self.stranger = trustme.CA(), folder / "ca.pem", folder / "stranger.pem"
        ours.cert_pem.write_to_path(self.authority)
        trustme.CA().cert_pem.write_to_path(self.stranger)
        leaf = ours.issue_cert("127.0.0.1")
        pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
        self.server = grpc.ssl_server_credentials([pair])
        self.mutual = grpc.ssl_server_credentials([pair], ours.cert_pem.bytes(), require_client_auth=True)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Certificates for this module."""
    return Certified(tmp_path_factory.mktemp("disagreement"))


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The urls with which hands were shaken once more, one for each time."""
    found: list[str] = []
    real = tls_diagnosis._explain
    monkeypatch.setattr(tls_diagnosis, "_explain", lambda url, *rest: found.append(url) or real(url, *rest))
    return found


@pytest.fixture
def silent() -> Iterator[str]:
    """The url of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as accepted:

        def accept() -> None:
            # Ends with its listener.
            with contextlib.suppress(OSError):
                while True:
                    accepted.enter_context(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def failed(client: Any, deadline_ms: float = LONG_MS) -> ServingError:
    """What a forecast raises."""
    with pytest.raises(ServingError) as caught:
        client.forecast(["S00"], BAR, deadline_ms=deadline_ms)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("case", ["clear to TLS", "TLS to clear", "a stranger's authority", "no certificate"])
def test_a_forecast_says_what_is_amiss_with_tls(
    make_client: Any, replicas: Any, certified: Certified, probed: list[str], case: str
) -> None:
    """In the words of `live`, before its deadline, after one more handshake and not more."""
    server, authority = {
        "clear to TLS": (certified.server, None),
        "TLS to clear": (None, certified.authority),
        "a stranger's authority": (certified.server, certified.stranger),
        "no certificate": (certified.mutual, certified.authority),
    }[case]
    url = replicas(1.0).start(credentials=server)
    with make_client(url, "m", security=ClientSecurity(authority)) as client:
        with pytest.raises(TlsError) as live:
            client.live()
        probed.clear()
        started = monotonic()
        error = failed(client)
        assert monotonic() - started < 5
    assert (type(error), str(error)) == (TlsError, str(live.value))
    assert isinstance(error.__cause__, grpc.RpcError)
    assert probed == [url]


def test_who_is_left_alone_for_tls_is_not_shaken_hands_with_again(
    make_client: Any, replicas: Any, certified: Certified, probed: list[str]
) -> None:
    """While nobody is asked the error stays what was found out; the trial after that finds out anew."""
    url = replicas(1.0).start(credentials=certified.server)
    with make_client(url, "m") as client:
        first = failed(client)
        again = failed(client)
        assert (type(again), probed) == (TlsError, [url])
        assert str(again) == f"{url} gave no prediction: all are left alone for a while; {first}"
        sleep(BREAKER_COOLDOWN_SECONDS + 0.05)
        assert (str(failed(client)), probed) == (str(first), [url, url])


def test_with_a_server_that_is_down_nobody_shakes_hands(make_client: Any, probed: list[str]) -> None:
    """What gRPC said of it is the error, and is said again while it is left alone."""
    url = f"127.0.0.1:{free_port()}"
    with make_client(url, "m") as client:
        first, again = failed(client), failed(client)
    assert (type(first), type(again), probed) == (ServingError, ServingError, [])
    told = str(first).removeprefix(f"{url} gave no prediction: ")
    assert told.startswith("StatusCode.UNAVAILABLE")
    assert "Connection refused" in told
    assert str(again) == (
        f"{url} gave no prediction: all are left alone for a while; {url} failed with {told}"
    )


def test_what_is_said_again_is_bounded(make_client: Any, replicas: Any) -> None:
    """A server that says much is quoted in full once; one that said nothing in time is quoted too."""
    talker, late = replicas(1.0), replicas(2.0)
    talker.failures = [(grpc.StatusCode.UNAVAILABLE, "x" * 5_000)] * 9
    with make_client(talker.start(), "m") as client:
        assert len(str(failed(client))) > 5_000
        assert len(str(failed(client))) < 500
    late.delay, url = 30.0, late.start()
    with make_client(url, "m", retries=RetrySettings(hedge_ms=0)) as client:
        for _ in range(3):
            failed(client, 60.0)
        assert f"left alone for a while; {url} failed with StatusCode.DEADLINE_EXCEEDED" in str(
            failed(client)
        )


def test_of_several_servers_the_one_that_is_there_is_doubted(
    make_client: Any, replicas: Any, certified: Certified, probed: list[str]
) -> None:
    """Where one is away and one does not agree, the error is of the latter, whichever was asked last."""
    away, secret = f"127.0.0.1:{free_port()}", replicas(1.0).start(credentials=certified.server)
    for urls in ([away, secret], [secret, away]):
        probed.clear()
        with make_client(urls, "m") as client:
            assert str(failed(client)).startswith(f"{secret} speaks TLS, and the client clear text")
        assert probed == [secret]


def test_who_is_answered_shakes_no_hands(
    make_client: Any, replicas: Any, certified: Certified, probed: list[str]
) -> None:
    """Neither where all is well, nor where another replica answers, nor where the answer is no."""
    clear, secret = replicas(1.0), replicas(2.0).start(credentials=certified.server)
    with make_client([secret, clear.start()], "m") as client:
        assert {float(client.infer(PANEL)[0]) for _ in range(6)} == {1.0}
        clear.failures = [(grpc.StatusCode.INTERNAL, "m version 1 gave a score that is not finite")]
        with pytest.raises(ServingError, match="not finite"):
            for _ in range(2):
                client.infer(PANEL)
    assert probed == []


@pytest.mark.parametrize("tls", [False, True])
def test_a_forecast_that_fails_keeps_its_deadline(
    make_client: Any, certified: Certified, silent: str, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    """However long hands could be shaken with a server that says nothing."""
    monkeypatch.setattr(tls_diagnosis, "MAX_WAIT_SECONDS", 30.0)
    security = ClientSecurity(certified.authority if tls else None)
    with make_client(silent, "m", security=security) as client:
        started = monotonic()
        assert type(failed(client, 900.0)) is ServingError
        assert 0.3 < monotonic() - started < 5


def test_the_event_loop_goes_on_meanwhile(silent: str) -> None:
    """Hands are shaken beside it."""

    async def ask() -> int:
        async with AsyncPredictionClient(silent, "m") as client:
            asking, turns = asyncio.ensure_future(client.infer(PANEL, deadline_ms=900)), 0
            while not asking.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert isinstance(asking.exception(), ServingError)
        return turns

    assert asyncio.run(ask()) > 20
