"""`alphaloop config`: what is set, where it comes from, and a reference that is never behind the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alphaloop.settings.settings import known_settings
from cli import main
from cli.settings_reference import entries, markdown

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of settings, and a variable that goes before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", "9001")
    (tmp_path / "alphaloop.toml").write_text('[data]\nsource = "folder:bars"\n[serving]\ngrpc_port = 9000\n')
    return tmp_path


def test_what_is_set_is_shown_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    """A variable goes before the file, and says its name; defaults are left out."""
    assert main.run_command(["config", "show", "--json"]) == 0
    shown = {row["setting"]: (row["value"], row["from"]) for row in json.loads(capsys.readouterr().out)}
    assert shown["data.source"] == ('"folder:bars"', "alphaloop.toml")
    assert shown["serving.grpc_port"] == ("9001", "ALPHALOOP_SERVING__GRPC_PORT")
    assert "serving.http_port" not in shown


def test_defaults_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--all`, every setting there is has a row."""
    assert main.run_command(["config", "show", "--all", "--json"]) == 0
    assert [row["setting"] for row in json.loads(capsys.readouterr().out)] == known_settings()


def test_a_check_counts_what_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings that can be read are said to be right; a wrong one is one line that names it, with exit 2."""
    assert main.run_command(["config", "check"]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    Path("alphaloop.toml").write_text('[data]\nsuorce = "folder:bars"\n')
    assert main.run_command(["config", "check"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "data.suorce" in line
    assert "data.source" in line


def test_the_reference_is_that_of_the_code() -> None:
    """docs/reference/settings.md is what `alphaloop config reference` prints, and names every setting."""
    assert [entry.name for entry in entries()] == known_settings()
    assert (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8") == markdown()
