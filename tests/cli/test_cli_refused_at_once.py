"""What can be refused at once is: before a registry is opened, bars are read or a server is waited for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphaloop.runtime.processes import free_port
from cli import main
from loop import workspace


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, in which nothing may be opened: whoever gets as far fails the test."""

    def opened(*given: object) -> None:
        raise AssertionError("the registry was opened before the refusal")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    for name in ("GRPC_PORT", "HTTP_PORT", "METRICS_PORT"):
        monkeypatch.setenv(f"ALPHALOOP_SERVING__{name}", str(free_port()))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    monkeypatch.setattr(workspace, "open_registry", opened)
    monkeypatch.setattr(workspace, "latest_bars", opened)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield int(held.getsockname()[1])


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.run_command(list(arguments)) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1, shown
    return shown


def test_the_host_of_serve_is_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """`--host 0.0.0.0` is where to listen, refused for want of tokens alone; a runtime is no address."""
    assert "serving.host is 0.0.0.0 and there are no tokens" in _refused(capsys, "serve", "--host", "0.0.0.0")
    told = _refused(capsys, "serve", "--host", "process")
    assert "--host process is no address; choose the runtime with: --runtime process" in told


def test_the_host_of_serve_is_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address goes to the server; with tokens it may be any of this machine's, and no other's."""
    from serving.hosts.process import ProcessHost

    served: list[tuple[str, int]] = []
    monkeypatch.setattr(workspace, "open_registry", lambda chosen: None)
    monkeypatch.setattr(
        ProcessHost, "run_forever", lambda host, ready: served.append((host._serving.host, host._port))
    )
    tokens = tmp_path / "tokens"
    tokens.write_text("desk predict,admin a-token-of-the-desk-that-is-long-enough\n")
    monkeypatch.setenv("ALPHALOOP_SERVING__TOKENS", str(tokens))
    port = free_port()
    asked = ["serve", "--runtime", "process", "--host", "0.0.0.0", "--port", str(port)]
    assert main.run_command(asked) == 0
    assert served == [("0.0.0.0", port)]
    capsys.readouterr()
    assert "192.0.2.1 is no address of this machine" in _refused(capsys, "serve", "--host", "192.0.2.1")


@pytest.mark.parametrize("name", ["GRPC_PORT", "HTTP_PORT", "METRICS_PORT"])
def test_ports_in_use_are_refused_at_once(
    name: str, taken: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each port of the server is looked at before a model is loaded."""
    monkeypatch.setenv(f"ALPHALOOP_SERVING__{name}", str(taken))
    assert f"set serving.{name.lower()} to another" in _refused(capsys, "serve", "--runtime", "process")


def test_an_unknown_runtime_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with those that there are."""
    assert "unknown runtime 'rays'; known: process, ray" in _refused(capsys, "serve", "--runtime", "rays")


def test_a_trade_that_cannot_be_is_refused_at_once(
    taken: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A malformed replay, another broker and a metrics port in use are found before anything is read."""
    assert "is not of the form FROM:TO" in _refused(capsys, "trade", "--replay", "2019-01-02..2019-01-04")
    assert "'2019-13-02' is no date" in _refused(capsys, "trade", "--replay", "2019-13-02:2019-14-02")
    assert "unknown broker" in _refused(capsys, "trade", "--broker", "etrade")
    monkeypatch.setenv("ALPHALOOP_ROLLOUT__METRICS_PORT", str(taken))
    assert "set rollout.metrics_port to another" in _refused(capsys, "trade")


WRITING = [
    ("features", "build"), ("features", "materialize"), ("train", "momentum"), ("trade",),
    ("monitor", "--once"), ("serve", "--runtime", "process"), ("pipeline", "run", "retrain"),
    ("rollout", "crown", "1"),
    ("rollout", "start", "1"), ("rollout", "promote", "--reason", "x"), ("book", "carry", "--reason", "x"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", WRITING, ids=" ".join)
def test_a_home_that_cannot_be_written_is_refused_at_once(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A home below a file, and one without the right to write, are named with the setting."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "file" / "home"))
    assert "is a file; set ALPHALOOP_HOME to a folder" in _refused(capsys, *arguments)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    # Who is root may write everywhere, and a read-only medium cannot be had here.
    monkeypatch.setattr(workspace.os, "access", lambda path, mode: False)
    assert "cannot be written: no right to" in _refused(capsys, *arguments)
    assert not (tmp_path / "home").exists()
