"""Clients from settings: whom they ask, with what, and what is said where something is amiss."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from alphaloop.errors import ServingError, SettingsError, TlsError
from alphaloop.runtime.processes import free_port
from alphaloop.settings import settings as configuration
from alphaloop.settings.client import ClientSettings
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from serving.client.client import PredictionClient
from serving.client.settings import ConnectionSettings
from serving.hosts.process import ProcessHost

TOKEN = "a-token-of-the-trader-1"
BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificates of one authority, a stranger's key, tokens, and files that are none of it."""
    folder, authority = tmp_path_factory.mktemp("client"), trustme.CA()
    server, client, stranger = (authority.issue_cert("127.0.0.1") for _ in range(3))
    contents = {
        # A remark before a certificate need not be in ASCII.
        "authority": "# Autorité de certification\n".encode() + authority.cert_pem.bytes(),
        "server": server.cert_chain_pems[0].bytes(),
        "server-key": server.private_key_pem.bytes(),
        "certificate": client.cert_chain_pems[0].bytes(),
        "key": client.private_key_pem.bytes(),
        "strange-key": stranger.private_key_pem.bytes(),
        "tokens": f"trader predict {TOKEN}\n".encode(),
        "token": f"{TOKEN}\n".encode(),
        "latin": TOKEN.encode() + b"\xe9",
        "empty": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in (*contents, "missing")}


@pytest.fixture(scope="module")
def secured(world: Any, module_shelf: Any, files: dict[str, Path]) -> Iterator[Settings]:
    """Settings of a server that asks for TLS on both sides and for a token."""
    module_shelf.route(champion=module_shelf.add(1.0, 0.0, 0.0))
    settings = world.settings(
        model=module_shelf.name, grpc_port=free_port(), tls_certificate=files["server"],
        tls_key=files["server-key"], tls_client_ca=files["authority"], tokens=files["tokens"],
    )  # fmt: skip
    with ProcessHost(settings):
        yield settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no variables of the settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(configuration.os.environ):
        if name.startswith(configuration.PREFIX):
            monkeypatch.delenv(name)
    return tmp_path


def equipped(files: dict[str, Path], **changes: Any) -> ClientSettings:
    """A client with everything, or as `changes` say."""
    names = ("authority", "certificate", "key", "token")
    return ClientSettings(**{name: files[name] for name in names} | changes)


@pytest.mark.parametrize("text", ["one:1,other:2", " one:1 , other:2", '["one:1", "other:2"]'])
def test_urls_are_words_between_commas_or_a_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A variable holds either, the file a list or text, and settings that travel stay what they are."""
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", text)
    found = configuration.load_settings()
    assert ConnectionSettings.from_settings(found).urls == ("one:1", "other:2")
    assert configuration.settings_from_json(found.model_dump_json()).client == found.client
    monkeypatch.delenv("ALPHALOOP_CLIENT__URLS")
    for written in ('"one:1,other:2"', '["one:1", "other:2"]'):
        Path("alphaloop.toml").write_text(f"[client]\nurls = {written}\n")
        assert configuration.load_settings().client.urls == ("one:1", "other:2")


def test_an_impossible_setting_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Urls that are no list, and numbers out of their range, are refused in one line."""
    for name, value in (("URLS", '["one:1"'), ("ATTEMPTS", "0"), ("HEDGE_MS", "-1"), ("DEADLINE_MS", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(f"ALPHALOOP_CLIENT__{name}", value)
            with pytest.raises(SettingsError, match=rf"(?i)client(\.|__){name}'? is '") as caught:
                configuration.load_settings()
            assert "\n" not in str(caught.value)


def test_without_urls_the_server_of_the_settings_is_asked(make_client: Any, replicas: Any) -> None:
    """Host and port of `serving` are the default; with urls, these alone are asked."""
    first, second = replicas(1.0), replicas(2.0)
    serving = ServingSettings(grpc_port=int(first.start().rpartition(":")[2]), model="m")
    second.start()
    settings = Settings(serving=serving)
    with make_client.from_settings(settings) as client:
        assert (client.url, client.model, client.ready()) == (first.url, "m", True)
    elsewhere = settings.model_copy(update={"client": ClientSettings(urls=(second.url,))})
    with make_client.from_settings(elsewhere, "another") as client:
        assert (client.url, client.model, client.ready()) == (second.url, "another", False)


def test_patience_comes_from_the_settings(make_client: Any, replicas: Any) -> None:
    """Deadline, attempts and hedges are those of the settings."""
    replica = replicas(1.0)
    client = ClientSettings(urls=(replica.start(),), deadline_ms=150, attempts=1, hedge_ms=0, hedge_every=7)
    assert ConnectionSettings.from_settings(Settings(client=client)).retries.hedge_every == 7
    replica.delay = 30.0
    asking = make_client.from_settings(Settings(client=client), "m")
    with asking, pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        asking.forecast(["S00"], BAR)
    assert replica.asked == 1


def test_mutual_tls_and_a_token_come_from_files(
    make_client: Any, secured: Settings, world: Any, files: dict[str, Path]
) -> None:
    """A server that asks for all of it answers the client of the settings, and no other."""
    settings = secured.model_copy(update={"client": equipped(files)})
    with make_client.from_settings(settings) as client:
        assert client.live()
        assert client.forecast(world.symbols, world.bar).version == "1"
    client = make_client.from_settings(_elsewhere(secured, equipped(files, token=None)))
    with client, pytest.raises(ServingError, match=r"UNAUTHENTICATED: send a token"):
        client.forecast(world.symbols, world.bar)
    strange = equipped(files, certificate=None, key=None)
    with make_client.from_settings(_elsewhere(secured, strange)) as client:
        for ask in (client.live, lambda: client.forecast(world.symbols, world.bar, deadline_ms=5_000)):
            with pytest.raises(TlsError, match=r"asks for a client's certificate; set client\.certificate"):
                ask()


def _elsewhere(settings: Settings, client: ClientSettings) -> Settings:
    """The same server by its url, so that nothing is known of what it asks for."""
    url = f"{settings.serving.host}:{settings.serving.grpc_port}"
    return settings.model_copy(update={"client": client.model_copy(update={"urls": (url,)})})


def test_what_the_client_lacks_for_the_server_is_said(make_client: Any, files: dict[str, Path]) -> None:
    """Where the settings say what their server asks for, the error names each setting that is missing."""
    serving = ServingSettings(
        tls_certificate=files["server"], tls_key=files["server-key"], tls_client_ca=files["authority"],
        tokens=files["tokens"],
    )  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        make_client.from_settings(Settings(serving=serving))
    assert str(caught.value) == (
        "the server on 127.0.0.1:8001 asks for what the client lacks: set client.authority (as there is "
        "serving.tls_certificate), client.certificate and client.key (as there is serving.tls_client_ca), "
        "client.token (as there is serving.tokens); for another server set client.urls"
    )
    one_sided = serving.model_copy(update={"tls_client_ca": None, "tokens": None})
    with pytest.raises(SettingsError, match=r"lacks: set client\.authority \([^,]*\); for"):
        make_client.from_settings(Settings(serving=one_sided))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"authority": "missing"}, r"client\.authority names .*missing, which cannot be read: No such file"),
        ({"authority": "empty"}, r"client\.authority names .*empty, which holds no certificates in PEM"),
        ({"authority": "token"}, r"client\.authority names .*token, which holds no certificates in PEM"),
        ({"authority": "latin"}, r"client\.authority names .*latin, which holds no certificates in PEM"),
        ({"authority": None}, r"client\.certificate is of no use without TLS; set client\.authority"),
        ({"certificate": "missing"}, r"client\.certificate names .*missing, which cannot be read"),
        ({"key": "missing"}, r"client\.key names .*missing, which cannot be read"),
        ({"key": "strange-key"}, r"client\.certificate and client\.key name .*/strange-key, which are not"),
        ({"certificate": "token"}, r"client\.certificate and client\.key name .*/token and"),
        ({"key": None}, r"client\.certificate is given alone; set client\.certificate and client\.key"),
        ({"certificate": None}, r"client\.key is given alone"),
        ({"token": "missing"}, r"client\.token names .*missing, which cannot be read"),
        ({"token": "empty"}, r"client\.token names .*empty, which does not hold a token"),
        ({"token": "tokens"}, r"client\.token names .*tokens, which does not hold a token: one word"),
        ({"token": "latin"}, r"client\.token names .*latin, which does not hold a token"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    make_client: Any, files: dict[str, Path], changes: dict[str, str | None], named: str
) -> None:
    """The error names setting and file before anything is asked, in one line, and never shows a secret."""
    given = {name: files[file] if file else None for name, file in changes.items()}
    settings = Settings(client=equipped(files, urls=("127.0.0.1:1",), **given))
    with pytest.raises(SettingsError, match=named) as caught:
        make_client.from_settings(settings)
    chain: BaseException | None = caught.value
    assert "\n" not in str(chain)
    while chain is not None:
        assert TOKEN not in str(chain)
        chain = chain.__cause__ or chain.__context__


def test_a_client_shows_no_secret(files: dict[str, Path]) -> None:
    """Neither the settings, nor what is made of them, has the token in its text."""
    settings = Settings(client=equipped(files, urls=("127.0.0.1:1",)))
    with PredictionClient.from_settings(settings) as client:
        told = (repr(settings), settings.model_dump_json(), repr(ConnectionSettings.from_settings(settings)))
        assert all(TOKEN not in text for text in (*told, repr(client), repr(vars(client))))
