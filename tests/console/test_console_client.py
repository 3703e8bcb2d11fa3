"""The commands that ask a server: what they say where the client's settings are amiss."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloop import settings
from alphaloop.errors import InputError, MissingStateError
from alphaloop.processes import free_port
from console import main, workspace


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
            code = main.run(["predict"])
        shown = capsys.readouterr().err
        assert (code, shown.count("\n")) == (2, 1), shown
        assert named in shown
        assert "a-token-of" not in shown


def test_the_servers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands ask the urls of the client's settings, and say which of them are silent."""
    urls = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", urls)
    with pytest.raises(MissingStateError, match=f"no server answers on {urls}; start one"):
        workspace.require_server(settings.load())
    monkeypatch.setenv("ALPHALOOP_CLIENT__URLS", "127.0.0.1:1,,")
    with pytest.raises(InputError, match="give host:port"):
        workspace.require_server(settings.load())
