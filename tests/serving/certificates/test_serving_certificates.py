"""Certificates replaced while servers run: new connections get the new ones, and nothing is lost."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from http.client import HTTPSConnection
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError, SettingsError
from alphaloop.runtime.processes import free_port
from serving.client.client import PredictionClient
from serving.hosts.process import ProcessHost
from serving.security import reloadable_file
from serving.security.tls import CertificateFiles, ServerCertificates

from .rotation import Mounted, Party, Rotation

PANEL = np.ones((1, 2, 3), np.float32)


def shown(url: str, client: Mounted) -> bytes:
    """The first certificate, in DER, of what a server shows to a new connection."""
    host, _, port = url.rpartition(":")
    context = client.security().context()
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as way,
    ):
        return way.getpeercert(binary_form=True) or b""


def der(party: Party) -> bytes:
    """The first certificate of a chain."""
    end = b"-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert((party.chain.split(end)[0] + end).decode())


def live(url: str, context: ssl.SSLContext, session: Any = None) -> tuple[ssl.SSLSession | None, bool | None]:
    """Ask over HTTPS; returns the session, and whether it was one of before.

    Raises `OSError` where the server does not accept the client.
    """
    host, _, port = url.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host, session=session) as way,
    ):
        way.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        if not way.recv(64).startswith(b"HTTP/1.1 200"):
            raise ConnectionError("no answer")
        return way.session, way.session_reused


def http_context(client: Mounted) -> ssl.SSLContext:
    """The same client's for HTTPS."""
    context = ssl.create_default_context(cafile=str(client.authority))
    context.load_cert_chain(client.chain, client.key)
    return context


def accepted(host: ProcessHost, model: str, client: Mounted) -> tuple[bool, bool]:
    """Whether gRPC, and HTTPS, answer to a new connection of the client."""
    with PredictionClient(host.url, model, security=client.security(), deadline_ms=5_000) as asking:
        try:
            by_grpc = float(asking.infer(PANEL)[0]) == 3.0
        except ServingError:
            by_grpc = False
    try:
        live(host.http_url, http_context(client))
    except OSError:
        return by_grpc, False
    return by_grpc, True


def test_new_connections_get_the_new_certificate_and_old_ones_go_on(hosted: Any, rotation: Rotation) -> None:
    """On both wires, and who was connected with the old one is answered over that connection still."""
    host, model = hosted(False)
    client = rotation.old_client
    with PredictionClient(host.url, model, security=client.security()) as asking:
        connection = HTTPSConnection(*host.http_url.split(":"), context=http_context(client))

        def answered() -> tuple[float, int]:
            connection.request("GET", "/v2/health/live")
            response = connection.getresponse()
            response.read()
            return float(asking.infer(PANEL)[0]), response.status

        assert answered() == (3.0, 200)
        ways = (host.url, host.http_url)
        assert [shown(url, client) for url in ways] == [der(rotation.old)] * 2
        for party, authority in ((rotation.new, rotation.after), (rotation.old, rotation.before)):
            rotation.server.replace(party.secret(authority))
            assert [shown(url, client) for url in ways] == [der(party)] * 2
            assert answered() == (3.0, 200)
        connection.close()


def test_the_authority_of_clients_is_replaced_too(hosted: Any, rotation: Rotation) -> None:
    """First both authorities are trusted, then only the new one: the old one's clients are refused."""
    host, model = hosted(True)
    old, new = rotation.old_client, rotation.new_client
    assert accepted(host, model, old) == (True, True)
    assert accepted(host, model, new) == (False, False)
    rotation.server.replace(rotation.new.secret(rotation.before, rotation.after))
    assert accepted(host, model, old) == accepted(host, model, new) == (True, True)
    rotation.server.replace(rotation.new.secret(rotation.after))
    assert accepted(host, model, old) == (False, False)
    assert accepted(host, model, new) == (True, True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_before_lets_nobody_in(hosted: Any, rotation: Rotation, version: ssl.TLSVersion) -> None:
    """Who is not trusted any more cannot resume what was agreed while it was."""
    host, _ = hosted(True)
    context = http_context(rotation.old_client)
    context.minimum_version = context.maximum_version = version
    session, resumed = live(host.http_url, context)
    assert (session is not None, resumed) == (True, False)
    assert live(host.http_url, context, session)[1] is True
    rotation.server.replace(rotation.new.secret(rotation.after))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        live(host.http_url, context, session)


def test_a_half_replaced_pair_leaves_the_old_one_in_use(
    hosted: Any, rotation: Rotation, caplog: pytest.LogCaptureFixture
) -> None:
    """On both wires; the log says so once for each state of the files, by their names, and shows no key."""
    host, model = hosted(True)
    client, server, old = rotation.old_client, rotation.server, rotation.old.secret(rotation.before)
    halves = [
        {"tls.crt": rotation.new.chain},
        {"tls.key": rotation.new.key},
        {"tls.key": rotation.new.key[:200]},
        {"tls.crt": b""},
        {"ca.crt": b"no authority\n"},
        {"ca.crt": rotation.before.cert_pem.bytes()[:-40] + b"\xe9"},
    ]
    for half in halves:
        caplog.clear()
        server.replace(old | half)
        for _ in range(3):
            assert [shown(url, client) for url in (host.url, host.http_url)] == [der(rotation.old)] * 2
            assert accepted(host, model, client) == (True, True)
        (record,) = [one for one in caplog.records if one.name == reloadable_file.__name__]
        assert record.levelno == logging.WARNING
        assert str(server.authority if "ca.crt" in half else server.key) in record.getMessage()
        assert "what was read from it last is used" in record.getMessage()
        lines = (rotation.new.key + rotation.old.key).decode().splitlines()
        assert not any(line in caplog.text for line in lines if not line.startswith("---"))
    (server.folder / "..data").unlink()
    assert accepted(host, model, client) == (True, True)
    server.replace(rotation.new.secret(rotation.before))
    assert [shown(url, client) for url in (host.url, host.http_url)] == [der(rotation.new)] * 2


def test_a_rotation_loses_no_request(hosted: Any, rotation: Rotation, monkeypatch: Any) -> None:
    """With a new connection for each request, while chain, key and authority are replaced over and over."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.02)
    host, model = hosted(True)
    ended, answers = threading.Event(), []
    both = (rotation.before, rotation.after)

    def ask(client: Mounted) -> None:
        while not ended.is_set():
            answers.append(accepted(host, model, client))

    clients = (rotation.old_client, rotation.new_client)
    rotation.server.replace(rotation.old.secret(*both))
    # Whoever is trusted from now on comes when the server knows of it: that it reads is not at once.
    end = monotonic() + 20
    while accepted(host, model, rotation.new_client) != (True, True):
        assert monotonic() < end, "the new authority is not trusted"
        sleep(0.02)
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for round_number, party in enumerate(cycle((rotation.new, rotation.old))):
        if round_number >= 10 and len(answers) > 20:
            break
        rotation.server.replace(party.secret(*both))
        sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join()
    assert set(answers) == {(True, True)}


def test_the_files_are_read_again_only_when_they_are_others(
    rotation: Rotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is made once for all connections, and once more for each replacement."""
    made = []
    read = CertificateFiles.read
    monkeypatch.setattr(CertificateFiles, "read", lambda self: made.append(read(self)) or made[-1])
    server = rotation.server
    certificates = ServerCertificates(CertificateFiles(server.chain, server.key, None))
    context = certificates.for_https()
    for count in (1, 2):
        for _ in range(5):
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        assert len(made) == count
        server.replace(rotation.new.secret())
    assert rotation.old.key.decode()[40:80] not in repr(made)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"tls.key": "client"},
            r"serving\.tls_certificate and serving\.tls_key name .*tls\.crt and .*tls\.key",
        ),
        ({"tls.crt": "none"}, r"are not a certificate in PEM and the key that belongs to it, without a pass"),
        ({"ca.crt": "none"}, r"serving\.tls_client_ca names .*ca\.crt, which holds no certificates in PEM"),
    ],
)
def test_certificates_that_cannot_be_used_stop_a_server_at_its_start(
    world: Any, rotation: Rotation, changes: dict[str, str], named: str
) -> None:
    """The settings are named in one line, before anything listens."""
    contents = {"client": Party(rotation.before).key, "none": b"nothing of the kind"}
    server = rotation.server
    server.replace(
        rotation.old.secret(rotation.before) | {file: contents[one] for file, one in changes.items()}
    )
    settings = world.settings(
        tls_certificate=server.chain, tls_key=server.key, tls_client_ca=server.authority
    )
    with pytest.raises(SettingsError, match=named) as caught:
        ProcessHost(settings, free_port()).start()
    assert "\n" not in str(caught.value)
