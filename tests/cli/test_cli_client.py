"""The commands that ask a server: what they say where the client's settings are amiss."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloop.errors import InputError, MissingStateError
from alphaloop.runtime.processes import free_port
from alphaloop.settings import settings
from cli import main, server_wait
from loop import workspace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in a folder of their own, and stop nobody's children."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    return tmp_path


def test_a_client_that_cannot_ask_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """A file that is missing, a token in clear text and TLS that the client lacks are named."""
    (folder / "token").write_text("a-token-of-the-trader-1")
    cases = [
        ({"CLIENT__AUTHORITY": "nothing.pem"}, "client.authority names nothing.pem, which cannot be read"),
        (
            {"CLIENT__TOKEN": "token", "CLIENT__URLS": "example.com:8001"},
            "would go to example.com:8001 in clear text",
        ),
        ({"SERVING__TLS_CERTIFICATE": "c.pem", "SERVING__TLS_KEY": "k.pem"}, "lacks: set client.authority"),
        ({"SERVING__TOKENS": "tokens"}, "lacks: set client.token"),
    ]
    for variables, named in cases:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"ALPHALOOP_{name}", value)
            code = main.run_command(["predict"])
        shown = capsys.readouterr().err
        assert (code, shown.count("\n")) == (2, 1), shown
        assert named in shown
        assert "a-token-of" not in shown


def test_the_servers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands ask the urls of the client's settings, and say which of them are silent."""
    urls = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", urls)
    with pytest.raises(MissingStateError, match=f"no server answers on {urls}; start one"):
        server_wait.require_server(settings.load_settings())
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", "127.0.0.1:1,,")
    with pytest.raises(InputError, match="give host:port"):
        server_wait.require_server(settings.load_settings())


def test_a_server_that_is_starting_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`serve &` then `trade`: the command asks until the server answers, and says once that it waits."""
    answers = iter(["127.0.0.1:8001", "127.0.0.1:8001", ""])
    monkeypatch.setattr(server_wait, "_silent_servers", lambda settings: next(answers))
    monkeypatch.setattr(server_wait, "SERVER_POLL_SECONDS", 0.0)
    server_wait.require_server(settings.load_settings(), wait_seconds=60.0)
    assert capsys.readouterr().err == "waiting for a server on 127.0.0.1:8001, 60 s at most\n"
    assert next(answers, None) is None


def test_waiting_for_a_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none comes, the line says how long it was waited for and how to start one."""
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", f"127.0.0.1:{free_port()}")
    with pytest.raises(MissingStateError, match=r"after 0\.05 s; start one with `alphaloop serve`"):
        server_wait.require_server(settings.load_settings(), wait_seconds=0.05)


def test_trade_waits_a_minute_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default of `--wait` is 60 s, and a malformed `--replay` is refused before anybody is waited for."""
    waited: list[float] = []

    def note(chosen: object, seconds: float) -> None:
        waited.append(seconds)
        raise MissingStateError("nobody is there")

    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    monkeypatch.setattr(workspace, "open_registry", lambda chosen: None)
    monkeypatch.setattr(server_wait, "require_server", note)
    assert main.run_command(["trade"]) == main.run_command(["trade", "--wait", "7"]) == 2
    assert (
        main.run_command(["trade", "--replay", "2019-02-01:2019-01-01"])
        == main.run_command(["trade", "--replay", "x"])
        == 2
    )
    assert waited == [60.0, 7.0]
