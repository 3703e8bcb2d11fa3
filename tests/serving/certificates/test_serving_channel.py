"""Certificates replaced while clients run: the next question takes the new ones, and none is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import SettingsError, TlsError
from serving.client.async_client import AsyncPredictionClient
from serving.client.client import PredictionClient
from serving.client.retry_policy import RetrySettings
from serving.security import reloadable_file
from serving.security.tls import CertificateFiles, ServerCertificates

from .rotation import Mounted, Rotation

PANEL = np.ones((1, 2, 3), np.float32)
ONCE = RetrySettings(hedge_ms=0, attempts=1)


@pytest.fixture
def client_files(rotation: Rotation) -> Mounted:
    """The client's: at first of the authority of before, which alone it trusts."""
    return Mounted(rotation.folder / "client", rotation.client("before"))


@pytest.fixture
def secured(replicas: Any, rotation: Rotation) -> Any:
    """A replica with mutual TLS by the files of the server."""
    replica, server = replicas(1.0), rotation.server
    replica.start(
        credentials=ServerCertificates(
            CertificateFiles(server.chain, server.key, server.authority)
        ).for_grpc()
    )
    return replica


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's files are looked at only where something demands it."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 3_600.0)


def score(client: Any) -> float:
    """Who answered."""
    return float(client.infer(PANEL, deadline_ms=10_000)[0])


def channel(client: PredictionClient | AsyncPredictionClient) -> Any:
    """The channel of the first server."""
    return client._pool.servers[0]._channel


def test_the_next_question_takes_the_new_files(
    make_client: Any, secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """A server that trusts the new ones alone answers without a new client; the old channel is closed."""
    with make_client(secured.url, "m", security=client_files.security()) as client:
        assert score(client) == 1.0
        for name, party in (("after", rotation.new), ("before", rotation.old)):
            rotation.server.replace(party.secret(getattr(rotation, name)))
            # The connection that is there is no worse than it was.
            assert (score(client), client.live()) == (1.0, True)
            client_files.replace(rotation.client(name))
            assert (score(client), client.live(), client.ready()) == (1.0, True, True)
        assert channel(client)._replaced == []


@pytest.mark.usefixtures("unhurried")
def test_who_cannot_connect_looks_for_new_files(
    make_client: Any, secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """The caller learns nothing of it, even where a question may be asked only once."""
    client_files.replace(rotation.client("after"))
    with make_client(secured.url, "m", security=client_files.security(), retries=ONCE) as client:
        with pytest.raises(TlsError, match="does not vouch for"):
            score(client)
        client_files.replace(rotation.client("before"))
        assert (score(client), secured.asked) == (1.0, 1)


def test_half_a_replaced_pair_is_not_shown(
    make_client: Any, secured: Any, rotation: Rotation, client_files: Mounted, caplog: Any
) -> None:
    """The client goes on with what it had; the log names the files once, and shows no key."""
    whole, other = rotation.client("before"), rotation.client("after")
    with make_client(secured.url, "m", security=client_files.security()) as client:
        for name in ("tls.crt", "tls.key"):
            caplog.clear()
            client_files.replace(whole | {name: other[name]})
            assert [score(client) for _ in range(3)] == [1.0] * 3
            (record,) = [one for one in caplog.records if one.name == reloadable_file.__name__]
            assert record.levelno == logging.WARNING
            assert f"name {client_files.chain} and {client_files.key}, which are not" in record.getMessage()
            lines = (whole["tls.key"] + other["tls.key"]).decode().splitlines()
            assert not any(line in caplog.text for line in lines if not line.startswith("---"))
        client_files.replace(whole | {"ca.crt": b"no authority"})
        assert score(client) == 1.0
    with pytest.raises(SettingsError, match="holds no certificates in PEM"):
        make_client(secured.url, "m", security=client_files.security())


def test_the_same_files_are_the_same_channel(
    make_client: Any, secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """Written again with what they held, they do not cost a connection."""
    contents = rotation.client("before")
    client_files.replace(contents)
    with make_client(secured.url, "m", security=client_files.security()) as client:
        assert score(client) == 1.0
        way = channel(client)._current
        client_files.replace(contents)
        assert (score(client), channel(client)._current is way) == (1.0, True)


def test_a_question_under_way_ends_where_it_began(
    secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """Its channel is closed after it, with the next question, and it has its answer."""
    secured.delay = 30.0
    security = client_files.security()
    with (
        ThreadPoolExecutor(1) as pool,
        PredictionClient(secured.url, "m", security=security, retries=ONCE) as client,
    ):
        slow = pool.submit(score, client)
        _until(lambda: secured.asked == 1)
        secured.delay = 0.0
        client_files.replace(rotation.client("before"))
        assert score(client) == 1.0
        assert (len(channel(client)._replaced), slow.done()) == (1, False)
        secured.going_on.set()
        assert slow.result() == 1.0
        assert score(client) == 1.0
        assert channel(client)._replaced == []


def test_a_task_under_way_ends_where_it_began(
    secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """The same on an event loop; and who is cancelled meanwhile leaves the old channel too."""

    async def ask() -> None:
        security = client_files.security()
        async with AsyncPredictionClient(secured.url, "m", security=security, retries=ONCE) as client:
            slow, cancelled = (
                asyncio.ensure_future(client.infer(PANEL, deadline_ms=10_000)) for _ in range(2)
            )
            await asyncio.to_thread(_until, lambda: secured.asked == 2)
            secured.delay = 0.0
            client_files.replace(rotation.client("before"))
            cancelled.cancel()
            assert (await client.infer(PANEL))[0] == 1.0
            assert (len(channel(client)._replaced), slow.done()) == (1, False)
            secured.going_on.set()
            assert (await slow)[0] == 1.0
            assert (await client.infer(PANEL))[0] == 1.0
            assert channel(client)._replaced == []

    secured.delay = 30.0
    asyncio.run(ask())


def _until(true: Any) -> None:
    end = monotonic() + 10
    while not true():
        if monotonic() > end:
            raise TimeoutError("it did not come true within 10 s")
        sleep(0.005)


def test_a_hedged_question_counts_on_each_channel(
    make_client: Any, secured: Any, rotation: Rotation, client_files: Mounted
) -> None:
    """However a question ends, its channel is left: nothing is under way when all are answered."""
    retries = RetrySettings(hedge_ms=10, hedge_every=1)
    with make_client(secured.url, "m", security=client_files.security(), retries=retries) as client:
        secured.delay = 0.05
        for _ in range(3):
            assert score(client) == 1.0
        secured.delay = 0.0
        client_files.replace(rotation.client("before"))
        assert score(client) == 1.0

        def closed() -> bool:
            return score(client) == 1.0 and not channel(client)._replaced

        _until(closed)


def test_a_rotation_of_all_loses_no_request(
    hosted: Any, rotation: Rotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides trust both, then each has its new certificate, then the old authority goes; and back."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.02)
    host, model = hosted(True)
    both = (rotation.before, rotation.after)
    rotation.server.replace(rotation.old.secret(*both))
    files = Mounted(rotation.folder / "client", rotation.old_party.secret(*both))
    ended, answers = threading.Event(), list[float]()

    def ask(client: PredictionClient) -> None:
        while not ended.is_set():
            answers.append(score(client))

    steps = [
        (rotation.server, rotation.new.secret(*both)),
        (files, rotation.new_party.secret(rotation.after)),
        (rotation.server, rotation.new.secret(rotation.after)),
        (rotation.server, rotation.new.secret(*both)),
        (files, rotation.old_party.secret(*both)),
        (rotation.server, rotation.old.secret(*both)),
    ]
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(2)
        client = stack.enter_context(PredictionClient(host.url, model, security=files.security()))
        stack.enter_context(pool)
        asking = [pool.submit(ask, client) for _ in range(2)]
        try:
            for file, content in steps * 2:
                file.replace(content)
                sleep(0.06)
        finally:
            ended.set()
        for one in asking:
            one.result()
    assert len(answers) > 20
    assert set(answers) == {3.0}
