"""Options of the daemons that contradict each other are refused in one line, before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("features", "stream", "--lockstep"), "--lockstep is for a replay; name its days with --replay"),
        (("features", "stream", "--speed", "2"), "--speed 2 is for a replay; name its days with --replay"),
        (
            ("features", "stream", "--replay", "2019-01-02:2019-01-03", "--lockstep", "--speed", "2"),
            "--lockstep goes on when every part is done, and --speed 2 waits for none",
        ),
        (("features", "stream"), "source 'sp500-20' has bars of the past only; replay it"),
        (("trade", "--live", "--lockstep"), "--live follows the streamer, which has the replay"),
        (("trade", "--port", "8012"), "--port 8012 is for the daemon; add --live, or leave it out"),
    ],
)
def test_contradicting_options_are_refused(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 2 and one line that names the option and the way out; nothing is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    assert main.run_command(list(arguments)) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not (tmp_path / "home").exists()
