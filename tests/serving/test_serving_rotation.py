"""Tokens replaced while server and client run: nobody is refused, and a damaged file does no harm."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from alphaloop.clock import sleep
from alphaloop.errors import ServingError, SettingsError
from alphaloop.runtime.processes import free_port
from serving.client.client import PredictionClient
from serving.client.replica import ClientSecurity
from serving.client.retry_policy import RetrySettings
from serving.hosts.process import ProcessHost
from serving.protocol.errors import UnauthenticatedError
from serving.security import reloadable_file
from serving.security.access import AccessTokens, Scope
from serving.security.reloadable_file import ReloadableFile

PANEL = np.ones((1, 2, 3), np.float32)
OLD, NEW, NEWEST = "the-old-token-of-the-trader", "the-new-token-of-the-trader", "its-newest-token-by-now"
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, "this token is not known here")


class Mounted:
    """A secret as Kubernetes mounts it: a link into a folder that is itself a link, which is swapped."""

    def __init__(self, folder: Path, content: str) -> None:
        self.folder, self.path, self._version = folder, folder / "token", 0
        folder.mkdir()
        self.path.symlink_to("..data/token")
        self.replace(content)

    def replace(self, content: str) -> None:
        """Swap the link, and remove what it led to."""
        data, link = self.folder / "..data", self.folder / "..data_new"
        before = data.resolve() if data.exists() else None
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        (version / "token").write_text(content)
        link.symlink_to(version.name)
        os.replace(link, data)
        if before is not None:
            shutil.rmtree(before)


@pytest.fixture
def token(tmp_path: Path) -> Mounted:
    """The client's token."""
    return Mounted(tmp_path / "client", OLD)


@pytest.fixture
def tokens(tmp_path: Path) -> Mounted:
    """The server's list, which has the old token."""
    return Mounted(tmp_path / "server", listed(OLD))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with each request."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at only where something demands it."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 3_600.0)


def listed(*known: str) -> str:
    """A file of tokens, all of one client."""
    return "".join(f"trader predict {one}\n" for one in known)


def knows(access: AccessTokens, secret: str) -> bool:
    """Whether the server lets the token in."""
    try:
        return access.authorise(f"Bearer {secret}", Scope.PREDICT) == "trader"
    except UnauthenticatedError:
        return False


def shown(replica: Any) -> str:
    """The token that a replica was shown last."""
    return str(replica.metadata["authorization"]).removeprefix("Bearer ")


def score(client: Any) -> float:
    """Who answered."""
    return float(client.infer(PANEL)[0])


def upper(path: Path) -> str:
    """The content of a file that must be letters."""
    try:
        text = path.read_text()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if not text.isalpha():
        raise SettingsError(f"{path} does not hold letters alone")
    return text.upper()


@pytest.mark.usefixtures("hurried")
def test_a_file_that_cannot_be_used_leaves_what_was_there_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged or away, it changes nothing; the log says so once for each, and never what it holds."""
    mounted = Mounted(tmp_path / "one", "first")
    secret = ReloadableFile(mounted.path, upper)
    for replaced in (lambda: mounted.replace("s3cret"), lambda: shutil.rmtree(mounted.folder)):
        caplog.clear()
        replaced()
        assert [secret.current() for _ in range(5)] == ["FIRST"] * 5
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "what was read from it last is used" in record.getMessage()
        assert "s3cret" not in caplog.text
    Mounted(tmp_path / "one", "second")
    assert secret.current() == "SECOND"
    with pytest.raises(SettingsError, match="No such file"):
        ReloadableFile(tmp_path / "nowhere", upper)


@pytest.mark.usefixtures("hurried")
def test_every_way_to_replace_a_file_is_seen(tmp_path: Path) -> None:
    """Written in place, renamed over, swapped as a link, with an old date: the new content counts."""
    path = tmp_path / "plain"
    path.write_text("first")
    os.utime(path, (1, 1))
    secret = ReloadableFile(path, upper)
    path.write_text("other")
    os.utime(path, (1, 1))
    assert secret.current() == "OTHER"
    (tmp_path / "next").write_text("third")
    os.replace(tmp_path / "next", path)
    assert secret.current() == "THIRD"
    mounted = Mounted(tmp_path / "one", "first")
    secret = ReloadableFile(mounted.path, upper)
    mounted.replace("other")
    assert secret.current() == "OTHER"


def test_a_file_is_looked_at_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked for, and by however many threads."""
    now, looks = 100.0, []
    monkeypatch.setattr(reloadable_file, "monotonic", lambda: now)
    path = tmp_path / "plain"
    path.write_text("first")
    secret = ReloadableFile(path, upper)
    stamp = secret._stamp
    monkeypatch.setattr(secret, "_stamp", lambda: looks.append(now) or stamp())
    path.write_text("second")
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: secret.current(), range(1_000))) == {"FIRST"}
        now += 1.0
        assert secret.current() == "SECOND"
        assert set(threads.map(lambda _: secret.current(), range(1_000))) == {"SECOND"}
    assert looks == [101.0]


@pytest.mark.usefixtures("unhurried")
def test_the_server_knows_a_new_token_at_once(tokens: Mounted) -> None:
    """A token that it does not know makes it look at its file; both tokens count while the file has both."""
    access = AccessTokens(tokens.path)
    assert (knows(access, OLD), knows(access, NEW)) == (True, False)
    tokens.replace(listed(OLD, NEW))
    assert (knows(access, NEW), knows(access, OLD)) == (True, True)
    tokens.replace(listed(NEW))
    # Whom it let in it lets in until it looks again, which the next stranger makes it do.
    assert (knows(access, OLD), knows(access, "a-stranger"), knows(access, OLD)) == (True, False, False)


@pytest.mark.usefixtures("hurried")
def test_damaged_tokens_shut_nobody_out(tokens: Mounted, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever had access keeps it, strangers do not get it, and the log names the file and the line."""
    access = AccessTokens(tokens.path)
    tokens.replace(f"{listed(NEW)}trader predict\n{NEWEST}\n")
    assert (knows(access, OLD), knows(access, NEW), knows(access, OLD)) == (True, False, True)
    (record,) = caplog.records
    assert f"{tokens.path} line 2: give client, scopes and token, not 2 words" in record.getMessage()
    assert not any(secret in caplog.text for secret in (OLD, NEW, NEWEST))


@pytest.mark.usefixtures("hurried")
def test_a_new_token_is_sent_without_a_new_client(make_client: Any, replicas: Any, token: Mounted) -> None:
    """Once its file has been replaced, the client shows the new token."""
    replica = replicas(1.0)
    with make_client(replica.start(), "m", security=ClientSecurity(token=token.path)) as client:
        assert (score(client), shown(replica)) == (1.0, OLD)
        token.replace(NEW)
        assert (score(client), shown(replica)) == (1.0, NEW)


@pytest.mark.usefixtures("unhurried")
def test_who_is_refused_looks_for_a_new_token(make_client: Any, replicas: Any, token: Mounted) -> None:
    """The caller learns nothing of it, even where a question may be asked only once."""
    replica, retries = replicas(1.0), RetrySettings(attempts=1)
    url, security = replica.start(), ClientSecurity(token=token.path)
    with make_client(url, "m", security=security, retries=retries) as client:
        token.replace(NEW)
        assert (score(client), shown(replica)) == (1.0, OLD)
        replica.failures = [REFUSED]
        assert (score(client), shown(replica)) == (1.0, NEW)
        assert replica.asked == 3
        # Nothing new is there: the refusal is the answer.
        replica.failures = [REFUSED]
        with pytest.raises(ServingError, match=r"UNAUTHENTICATED: this token is not known here"):
            score(client)
        assert replica.asked == 4


@pytest.mark.usefixtures("hurried")
def test_a_damaged_token_is_not_sent(
    make_client: Any, replicas: Any, token: Mounted, caplog: pytest.LogCaptureFixture
) -> None:
    """The client goes on with the one that it had; the log names the file once, and no token."""
    replica = replicas(1.0)
    with make_client(replica.start(), "m", security=ClientSecurity(token=token.path)) as client:
        token.replace(f"{NEW} {NEWEST}")
        replica.failures = [REFUSED]
        with pytest.raises(ServingError, match="UNAUTHENTICATED") as caught:
            score(client)
        assert (score(client), shown(replica)) == (1.0, OLD)
        (record,) = [one for one in caplog.records if one.name == reloadable_file.__name__]
        assert f"client.token names {token.path}, which does not hold a token" in record.getMessage()
        assert not any(secret in f"{caplog.text} {caught.value}" for secret in (OLD, NEW, NEWEST))
        token.replace(NEWEST)
        assert (score(client), shown(replica)) == (1.0, NEWEST)


def test_without_a_token_no_file_is_looked_at(
    make_client: Any, replicas: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no token pays nothing for those who have one."""
    monkeypatch.setattr(
        reloadable_file.ReloadableFile, "__init__", lambda *_: pytest.fail("a file is watched")
    )
    replica = replicas(1.0)
    with make_client(replica.start(), "m") as client:
        assert score(client) == 1.0
        assert not {"authorization", "traceparent"} & set(replica.metadata)
        replica.failures = [REFUSED]
        with pytest.raises(ServingError, match="UNAUTHENTICATED"):
            score(client)
    assert replica.asked == 2


def test_a_rotation_loses_no_request(
    world: Any, shelf: Any, tokens: Mounted, token: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list gets the new token, then the client has it, then the list loses the old; all are answered."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.05)
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    settings, ended, answers = world.settings(model=shelf.name, tokens=tokens.path), threading.Event(), []

    def ask(client: PredictionClient) -> None:
        while not ended.is_set():
            answers.append(score(client))

    steps = [
        (file, content)
        for before, after in ((OLD, NEW), (NEW, NEWEST), (NEWEST, OLD))
        for file, content in ((tokens, listed(before, after)), (token, after), (tokens, listed(after)))
    ]
    with ExitStack() as stack:
        host, pool = stack.enter_context(ProcessHost(settings, free_port())), ThreadPoolExecutor(2)
        security = ClientSecurity(token=token.path)
        client = stack.enter_context(PredictionClient(host.url, shelf.name, security=security))
        stack.enter_context(pool)
        asking = [pool.submit(ask, client) for _ in range(2)]
        try:
            for file, content in steps:
                file.replace(content)
                sleep(0.03)
        finally:
            ended.set()
        for one in asking:
            one.result()
    assert len(answers) > 20
    assert set(answers) == {3.0}
