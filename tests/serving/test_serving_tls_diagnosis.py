"""Servers that are there and not agreed with on TLS, told from those that are away, by both clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import InputError, ServingError, TlsError
from alphaloop.runtime.processes import free_port
from serving.client import tls_diagnosis
from serving.client.replica import ClientSecurity

Talk = Callable[[socket.socket], None]
PAST = {"not_before": datetime(2019, 1, 1, tzinfo=UTC), "not_after": datetime(2020, 1, 1, tzinfo=UTC)}


class Certified:
    """Certificates of one authority and of a stranger's, as files by name: `server.pem`, `server.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder, ours, theirs = folder, trustme.CA(), trustme.CA()
        ours.cert_pem.write_to_path(str(folder / "ca.pem"))
        theirs.cert_pem.write_to_path(str(folder / "stranger-ca.pem"))
        for name, leaf in (
            ("server", ours.issue_cert("127.0.0.1")),
            ("elsewhere", ours.issue_cert("elsewhere.example.com")),
            ("expired", ours.issue_cert("127.0.0.1", **PAST)),
            ("client", ours.issue_cert("client")),
            ("expired-client", ours.issue_cert("client", **PAST)),
            ("stranger", theirs.issue_cert("client")),
        ):
            leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
            leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))

    def server(self, name: str = "server", mutual: bool = False) -> Any:
        """Credentials of a gRPC server."""
        pair = tuple((self.folder / f"{name}.{kind}").read_bytes() for kind in ("key", "pem"))
        authority = (self.folder / "ca.pem").read_bytes() if mutual else None
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=mutual)

    def context(self, mutual: bool = False, http: str = "h2") -> ssl.SSLContext:
        """A server of OpenSSL's, which says by alerts why it refuses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.set_alpn_protocols([http])
        if mutual:
            context.load_verify_locations(self.folder / "ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "", authority: str = "ca") -> ClientSecurity:
        """The security of a client, by default without a certificate of its own."""
        own = (self.folder / f"{name}.pem", self.folder / f"{name}.key") if name else (None, None)
        return ClientSecurity(self.folder / f"{authority}.pem", *own)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Certificates for this module."""
    return Certified(tmp_path_factory.mktemp("handshake"))


@pytest.fixture
def listen() -> Iterator[Callable[[Talk], str]]:
    """Starts a server that talks as it is told to whoever connects; returns its url."""
    with contextlib.ExitStack() as stack:

        def start(talk: Talk) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                # Ends with its listener.
                with contextlib.suppress(OSError):
                    while True:
                        one, _ = listener.accept()
                        threading.Thread(target=_talked, args=(talk, one), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"127.0.0.1:{listener.getsockname()[1]}"

        yield start


def _talked(talk: Talk, one: socket.socket) -> None:
    with one, contextlib.suppress(OSError):
        talk(one)


def secured(context: ssl.SSLContext, talk: Talk) -> Talk:
    """The same talk by TLS."""

    def shake(one: socket.socket) -> None:
        with context.wrap_socket(one, server_side=True) as way:
            talk(way)

    return shake


def hang_up(one: socket.socket) -> None:
    """Close without a word, as a proxy with nobody behind it."""


def say_nothing(one: socket.socket) -> None:
    """Accept, and leave it at that."""
    while one.recv(1_024):
        pass


def speak_http(one: socket.socket) -> None:
    """Answer whatever comes as a web server would."""
    one.recv(1_024)
    one.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def told(make_client: Any, urls: Any, security: ClientSecurity) -> str:
    """What `live` and `ready` both raise."""
    said = []
    with make_client(urls, "m", security=security) as client:
        for ask in (client.live, client.ready):
            with pytest.raises(TlsError) as caught:
                ask()
            said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    return said[0]


@pytest.mark.parametrize(
    ("certificate", "mutual", "client", "authority", "says"),
    [
        ("server", False, "", "stranger-ca",
         "has a certificate that client.authority does not vouch for (unable to get local issuer "
         "certificate); {folder}/stranger-ca.pem must be the PEM of the CA that signed it"),
        ("elsewhere", False, "", "ca",
         "has the certificate of another (IP address mismatch, certificate is not valid for '127.0.0.1'); "
         "name it in client.urls as its certificate does"),
        ("expired", False, "", "ca",
         "has a certificate that is out of date (certificate has expired); renew serving.tls_certificate "
         "there"),
        ("server", True, "", "ca",
         "asks for a client's certificate; set client.certificate and client.key"),
        ("server", True, "stranger", "ca",
         "does not accept client.certificate ({folder}/stranger.pem); it must be in date, and signed by the "
         "CA of serving.tls_client_ca there"),
        ("server", True, "expired-client", "ca",
         "does not accept client.certificate ({folder}/expired-client.pem); it must be in date, and signed "
         "by the CA of serving.tls_client_ca there"),
    ],
)  # fmt: skip
def test_what_is_amiss_with_tls_is_named(
    make_client: Any, replicas: Any, certified: Certified,
    certificate: str, mutual: bool, client: str, authority: str, says: str,
) -> None:  # fmt: skip
    """Authority, name, date and the client's own certificate: each by the setting that mends it."""
    url = replicas(1.0).start(credentials=certified.server(certificate, mutual))
    expected = f"{url} {says.format(folder=certified.folder)}"
    assert told(make_client, url, certified.client(client, authority)) == expected


def test_tls_and_clear_text_are_told_apart(make_client: Any, replicas: Any, certified: Certified) -> None:
    """Whichever side speaks TLS alone, the error says which, and what to set."""
    clear, secret = replicas(1.0).start(), replicas(1.0).start(credentials=certified.server())
    assert told(make_client, clear, certified.client()) == (
        f"{clear} speaks clear text, and the client TLS; unset client.authority, or set serving.tls_… there"
    )
    assert told(make_client, secret, ClientSecurity()) == (
        f"{secret} speaks TLS, and the client clear text; set client.authority to the CA of its certificate"
    )


def test_who_agrees_is_asked(make_client: Any, replicas: Any, certified: Certified) -> None:
    """With the right files there is no more to say, and a model that is not there is still only not ready."""
    url = replicas(1.0).start(credentials=certified.server(mutual=True))
    with make_client(url, "m", security=certified.client("client")) as client:
        assert (client.live(), client.ready()) == (True, True)
    with make_client(url, "another", security=certified.client("client")) as client:
        assert not client.ready()


def test_servers_that_say_why_are_understood(make_client: Any, listen: Any, certified: Certified) -> None:
    """OpenSSL's alerts, another protocol behind TLS, and a web server, lead to the same settings."""
    mutual = listen(secured(certified.context(mutual=True), say_nothing))
    assert "asks for a client's certificate" in told(make_client, mutual, certified.client())
    assert "does not accept client.certificate" in told(make_client, mutual, certified.client("stranger"))
    assert "speaks TLS, and the client clear text" in told(make_client, mutual, ClientSecurity())
    web = listen(secured(certified.context(http="http/1.1"), speak_http))
    assert "speaks TLS, but not gRPC; name the port" in told(make_client, web, certified.client())
    assert "do not agree on TLS (" in told(make_client, listen(speak_http), certified.client())


def test_who_is_away_is_away(
    make_client: Any, listen: Any, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody there, a proxy with nobody behind it, a server that hangs, no address: no talk of TLS."""
    monkeypatch.setattr(tls_diagnosis, "MAX_WAIT_SECONDS", 0.2)
    started = monotonic()
    away = [f"127.0.0.1:{free_port()}", listen(hang_up), listen(say_nothing), "a..b:1", "unix:/no/socket"]
    proxy = listen(secured(certified.context(), hang_up))
    for urls, security in (
        (away, ClientSecurity()),
        ([*away, proxy], certified.client()),
        ([*away, proxy], certified.client("client")),
    ):
        with make_client(urls, "m", security=security) as client:
            assert (client.live(), client.ready()) == (False, False)
    assert monotonic() - started < 10
    with make_client(listen(speak_http), "m") as client:
        assert not client.live()


def test_a_server_across_an_ocean_is_there_at_the_first_question(
    make_client: Any, replicas: Any, listen: Any, certified: Certified
) -> None:
    """TLS over 100 ms of round trip: the connection is given the time that it needs."""
    url = replicas(1.0).start(credentials=certified.server())

    def relay(one: socket.socket) -> None:
        with socket.create_connection(url.rsplit(":", 1)) as other:
            back = threading.Thread(target=_carry, args=(other, one), daemon=True)
            back.start()
            _carry(one, other)
            back.join()

    with make_client(listen(relay), "m", security=certified.client()) as client:
        assert client.live()


def _carry(source: socket.socket, target: socket.socket, seconds: float = 0.05) -> None:
    """What comes, half a round trip later."""
    with contextlib.suppress(OSError):
        while content := source.recv(2**16):
            sleep(seconds)
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


def test_a_file_that_has_gone_leaves_grpc_to_say_it(
    make_client: Any, replicas: Any, certified: Certified, tmp_path: Path
) -> None:
    """Where hands cannot be shaken once more, what gRPC said of the first time is told."""
    url = replicas(1.0).start(credentials=certified.server())
    authority = tmp_path / "ca.pem"
    authority.write_bytes((certified.folder / "stranger-ca.pem").read_bytes())
    with make_client(url, "m", security=replace(certified.client(), authority=authority)) as client:
        authority.unlink()
        with pytest.raises(TlsError, match=r"do not agree on TLS \(.*CERTIFICATE_VERIFY_FAILED.*\); look at"):
            client.live()


def test_one_that_answers_is_enough(make_client: Any, replicas: Any, certified: Certified) -> None:
    """Among several servers the error of one counts only where none says yes."""
    clear, secret = replicas(1.0).start(), replicas(1.0).start(credentials=certified.server())
    with make_client([clear, secret], "m", security=certified.client()) as client:
        assert (client.live(), client.ready()) == (True, True)
    nobody = f"127.0.0.1:{free_port()}"
    assert told(make_client, [nobody, clear], certified.client()).startswith(f"{clear} speaks clear text")


def test_it_is_an_error_of_serving_that_the_caller_mends(
    make_client: Any, replicas: Any, certified: Certified
) -> None:
    """Who catches either sees it; gRPC's own words are its cause."""
    url = replicas(1.0).start(credentials=certified.server())
    with make_client(url, "m") as client:
        for kind in (ServingError, InputError):
            with pytest.raises(kind) as caught:
                client.live()
            assert isinstance(caught.value.__cause__, grpc.RpcError)
