"""Who may ask: TLS and mutual TLS, bearer tokens, rate limits, and what is bound without them."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from tritonclient import grpc as triton
from tritonclient import http as triton_http
from tritonclient.utils import InferenceServerException

from alphaloop.errors import SettingsError
from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.protocol.errors import AccessDeniedError, RateLimitError, UnauthenticatedError
from serving.security import reloadable_file
from serving.security.access import AccessTokens, Scope, is_loopback, require_access_control
from serving.server.token_bucket import RateLimiter

PREDICT, ADMIN = "predict-only-token-1", "administrators-token-2"
PANEL = np.ones((2, 2, 3), np.float32)


def infer(client: Any, library: Any, model: str, **options: Any) -> list[float]:
    """The scores of a panel of ones."""
    tensor = library.InferInput("panel", [2, 2, 3], "FP32")
    tensor.set_data_from_numpy(PANEL)
    return list(client.infer(model, [tensor], **options).as_numpy("scores").tolist())


@dataclass(frozen=True)
class Certified:
    """Files of one authority: a server's and a client's certificate."""

    authority: str
    chain: str
    key: str
    client_chain: str
    client_key: str


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Certificates made for this test."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    server, client = (
        authority.issue_cert("localhost", "127.0.0.1"),
        authority.issue_cert("trader@example.com"),
    )
    paths = {name: folder / f"{name}.pem" for name in ("authority", "chain", "key", "cchain", "ckey")}
    authority.cert_pem.write_to_path(paths["authority"])
    for leaf, chain, key in ((server, "chain", "key"), (client, "cchain", "ckey")):
        leaf.private_key_pem.write_to_path(paths[key])
        paths[chain].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return Certified(*(str(path) for path in paths.values()))


@pytest.fixture
def champion(shelf: Any) -> Any:
    """A shelf whose version 1, the sum of the features, is champion."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    return shelf


@pytest.mark.parametrize("mutual", [False, True])
def test_tls_and_mutual_tls(world: Any, champion: Any, certified: Certified, mutual: bool) -> None:
    """With certificates both wires are encrypted; with a client authority only its clients are answered."""
    settings = world.settings(
        model=champion.name, http_port=free_port(), tls_certificate=certified.chain, tls_key=certified.key,
        tls_client_ca=certified.authority if mutual else None,
    )  # fmt: skip
    own = {"private_key": certified.client_key, "certificate_chain": certified.client_chain} if mutual else {}
    own_http = {"keyfile": certified.client_key, "certfile": certified.client_chain} if mutual else {}
    with ProcessHost(settings, free_port()) as host:
        with triton.InferenceServerClient(
            host.url, ssl=True, root_certificates=certified.authority, **own
        ) as client:
            assert infer(client, triton, champion.name) == [3.0, 3.0]
        options = {"ca_certs": certified.authority, "cert_reqs": ssl.CERT_REQUIRED} | own_http
        with triton_http.InferenceServerClient(
            host.http_url, ssl=True, ssl_options=options, ssl_context_factory=_context(options)
        ) as client:
            assert infer(client, triton_http, champion.name) == [3.0, 3.0]
        with triton.InferenceServerClient(host.url) as plain, pytest.raises(InferenceServerException):
            infer(plain, triton, champion.name, client_timeout=2)
        if mutual:
            stranger = triton.InferenceServerClient(host.url, ssl=True, root_certificates=certified.authority)
            with stranger, pytest.raises(InferenceServerException):
                infer(stranger, triton, champion.name, client_timeout=2)


def _context(options: dict[str, Any]) -> Any:
    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=options["ca_certs"])
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options["keyfile"])
        return context

    return make


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Two clients: one by its token, one by the digest of it."""
    digest = hashlib.sha256(ADMIN.encode()).hexdigest()
    path = tmp_path / "tokens"
    path.write_text(f"# clients\ntrader predict {PREDICT}\n\nops predict,admin sha256:{digest}\n")
    return path


@pytest.fixture
def guarded(world: Any, champion: Any, tokens: Path) -> Iterator[ProcessHost]:
    """A host with tokens."""
    champion.add(2.0, 2.0, 2.0)
    settings = world.settings(model=champion.name, http_port=free_port(), tokens=tokens)
    with ProcessHost(settings, free_port()) as host:
        yield host


def test_tokens_over_grpc(guarded: ProcessHost, champion: Any) -> None:
    """Without a token nothing but health is answered; a scope allows its own calls."""
    with triton.InferenceServerClient(guarded.url) as client:
        assert client.is_server_ready()
        assert client.is_model_ready(champion.name)
        trader = {"authorization": f"Bearer {PREDICT}"}
        ops = {"authorization": f"Bearer {ADMIN}"}
        assert infer(client, triton, champion.name, headers=trader) == [3.0, 3.0]
        assert infer(client, triton, champion.name, headers=ops) == [3.0, 3.0]
        client.load_model(champion.name, headers=ops)
        for headers, call, status in (
            ({}, lambda h: infer(client, triton, champion.name, headers=h), "UNAUTHENTICATED"),
            ({"authorization": "Bearer nobody"}, lambda h: client.get_model_config(champion.name, headers=h),
             "UNAUTHENTICATED"),
            ({"authorization": f"Basic {PREDICT}"},
             lambda h: client.get_inference_statistics(headers=h), "UNAUTHENTICATED"),
            (trader, lambda h: client.load_model(champion.name, headers=h), "PERMISSION_DENIED"),
            (trader, lambda h: client.unload_model(champion.name, headers=h), "PERMISSION_DENIED"),
        ):  # fmt: skip
            with pytest.raises(InferenceServerException) as caught:
                call(headers)
            assert caught.value.status() == f"StatusCode.{status}"
            assert PREDICT not in str(caught.value)


def test_tokens_over_http(guarded: ProcessHost, champion: Any) -> None:
    """The same over HTTP, by 401 and 403."""
    with triton_http.InferenceServerClient(guarded.http_url) as client:
        trader = {"Authorization": f"Bearer {PREDICT}"}
        assert client.is_server_ready()
        assert infer(client, triton_http, champion.name, headers=trader) == [3.0, 3.0]
        for headers, call, status in (
            ({}, lambda h: infer(client, triton_http, champion.name, headers=h), "401"),
            ({}, lambda h: client.get_model_repository_index(headers=h), "401"),
            (trader, lambda h: client.load_model(champion.name, headers=h), "403"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                call(headers)
            assert caught.value.status() == status
    connection = HTTPConnection(*guarded.http_url.split(":"))
    connection.request("POST", f"/v2/models/{champion.name}/infer", b"{}")
    assert connection.getresponse().headers["WWW-Authenticate"] == "Bearer"
    connection.close()


def test_replaced_tokens_are_read_again(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is taken out of the file stops to work; a damaged file changes nothing."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.0)
    access = AccessTokens(tokens)
    assert access.authorise(f"Bearer {PREDICT}", Scope.PREDICT) == "trader"
    tokens.write_text("half a line")
    assert access.authorise(f"Bearer {PREDICT}", Scope.PREDICT) == "trader"
    tokens.write_text("trader predict another-token-that-is-new\n")
    os.utime(tokens, (1, 1))
    with pytest.raises(UnauthenticatedError):
        access.authorise(f"Bearer {PREDICT}", Scope.PREDICT)
    assert access.authorise("bearer another-token-that-is-new", Scope.PREDICT) == "trader"
    with pytest.raises(AccessDeniedError, match="'trader' does not have the scope 'admin'"):
        access.authorise("Bearer another-token-that-is-new", Scope.ADMIN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("trader predict", "line 1: give client, scopes and token, not 2 words"),
        ("trader root 0123456789abcdef", "unknown scope 'root'; known: admin, predict"),
        ("trader predict short-secret", "at least 16 characters"),
        ("trader predict sha256:12", "64 hexadecimal digits"),
    ],
)
def test_a_wrong_file_of_tokens_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is said by line, and never with the token."""
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        AccessTokens(path)
    assert "short-secret" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        AccessTokens(tmp_path / "nowhere")


def test_tokens_are_not_kept(tokens: Path) -> None:
    """What the server holds of a token is its digest."""
    held = repr(vars(AccessTokens(tokens)._grants))
    assert hashlib.sha256(ADMIN.encode()).hexdigest() in held
    assert PREDICT not in held
    assert ADMIN not in held


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("10.0.0.1", False), ("example.com", False), ("::", False)],
)  # fmt: skip
def test_what_loopback_is(host: str, loopback: bool) -> None:
    """Only addresses that no other machine can reach are loopback."""
    assert is_loopback(host) is loopback


def test_without_tokens_only_loopback_is_bound(world: Any, tokens: Path) -> None:
    """An open server on the network is refused before anything starts, in one line."""
    settings = world.settings(host="0.0.0.0")
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0 and there are no tokens.*set serving\.tokens"):
        ProcessHost(settings, free_port()).start()
    require_access_control(world.settings(host="0.0.0.0", tokens=tokens).serving)


def test_half_of_tls_is_refused(world: Any, certified: Certified, tmp_path: Path) -> None:
    """A certificate without its key, or a file that is not there, is named before anything starts."""
    with pytest.raises(SettingsError, match=r"serving\.tls_certificate given alone"):
        ProcessHost(world.settings(tls_certificate=certified.chain), free_port()).start()
    with pytest.raises(SettingsError, match=r"serving\.tls_client_ca given alone"):
        ProcessHost(world.settings(tls_client_ca=certified.chain), free_port()).start()
    missing = tmp_path / "none.pem"
    with pytest.raises(SettingsError, match=r"tls_key names .*none\.pem, which is not a file"):
        ProcessHost(world.settings(tls_certificate=certified.chain, tls_key=missing), free_port()).start()


def test_a_client_that_asks_too_often_is_told_when_to_come_back(world: Any, champion: Any) -> None:
    """Above the rate the status is RESOURCE_EXHAUSTED or 429, with a hint, until the bucket fills."""
    settings = world.settings(model=champion.name, http_port=free_port(), rate_limit=5.0, rate_burst=3)
    with ProcessHost(settings, free_port()) as host:
        with triton.InferenceServerClient(host.url) as client:
            refused = 0
            for _ in range(8):
                try:
                    infer(client, triton, champion.name)
                except InferenceServerException as error:
                    refused += 1
                    assert error.status() == "StatusCode.RESOURCE_EXHAUSTED"
                    assert "ask again in" in error.message()
        assert refused >= 4
        connection = HTTPConnection(*host.http_url.split(":"))
        connection.request("POST", f"/v2/models/{champion.name}/infer", b"{}")
        response = connection.getresponse()
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert 0 < int(response.headers["X-Retry-After-Ms"]) <= 1_000
        connection.close()


def test_rates_are_by_client_and_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket fills with time; each client has its own; the number of buckets has a limit."""
    now = 100.0
    monkeypatch.setattr("serving.server.token_bucket.monotonic", lambda: now)
    limit = RateLimiter(2.0, 2, clients=10)
    for _ in range(2):
        limit.spend("a")
    with pytest.raises(RateLimitError) as caught:
        limit.spend("a")
    assert caught.value.retry_after == pytest.approx(0.5)
    limit.spend("b")
    now += 0.5
    limit.spend("a")
    for number in range(1_000):
        limit.spend(f"client-{number}")
    assert len(limit._buckets) == 10
