"""`alphaloop features select`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from cli import main

SMALL = ("--candidates", "26", "--methods", "information,lasso", "--count", "5", "-o", "chosen")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder over the simulated market, and stop nothing that they did not start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", "simulated")
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """What the command prints on both streams."""
    found = main.run_command(["features", "select", *arguments])
    printed = capsys.readouterr()
    assert found == code, printed.err
    return printed.out, printed.err


def test_a_set_is_chosen_and_can_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress goes to standard error, JSON names the set and its files, and the settings written give it."""
    out, progress = run(capsys, *SMALL, "--until", "2018-12-31", "--json")
    answer = json.loads(out)
    assert "generating 26 candidates" in progress
    assert "lasso" in progress
    assert 1 <= len(answer["features"]) <= 5
    assert answer["tried"] >= answer["candidates"] == 26
    assert answer["until"].startswith("2018-12-31")
    assert answer["held_out_never_used"]["bars"] > 400
    assert [Path(one).name for one in answer["files"]] == [
        "features.toml", "ranking.parquet", "ranking.csv", "report.html",
    ]  # fmt: skip
    assert all(Path(one).is_file() for one in answer["files"])
    Path("alphaloop.toml").write_text(Path("chosen/features.toml").read_text())
    assert tomllib.loads(Path("alphaloop.toml").read_text())["features"]["set"] == answer["features"]
    assert main.run_command(["features", "list", "--in-use", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["set_hash"] == answer["set_hash"]


def test_people_read_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json there are the chosen features, the set's hash, and how it stands beside chance."""
    out, _ = run(capsys, *SMALL)
    assert "sign kept" in out
    assert "no skill" in out
    assert "set " in out
    assert "report.html" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "magic"), "unknown method 'magic'"),
        (("--count", "0"), "--count is 0"),
        (("--horizon", "-2"), "--horizon is -2"),
        (("--candidates", "0"), "candidates is 0"),
        (("--candidates", "100000"), "it must lie in 1"),
        (("--until", "tomorrow"), "--until 'tomorrow' is no date"),
        (("--until", "2015-03-01"), "choose a later date"),
        (("--until", "1999-01-01"), "choose a later date"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """What is wrong is named on one line, nothing is written, and the exit code is 2."""
    out, err = run(capsys, "--candidates", "22", *arguments, code=2)
    assert out == ""
    assert said in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("alphaloop: ")
    assert not Path("features-selected").exists()
