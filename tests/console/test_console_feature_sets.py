"""A version of new features takes over from a champion of the old ones, by the command alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alphaloop.processes import free_port
from console import main

Run = Callable[..., Any]
NEW = ["momentum_252_21", "mine = close / sma(30) - 1", "rsi(9)"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb in a workspace of its own; gives the JSON that it answered and what it warned of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", str(free_port()))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)

    def run_verb(*arguments: str) -> tuple[Any, str]:
        code = main.run([*arguments, "--json"])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out), shown.err

    return run_verb


@contextmanager
def serving() -> Iterator[None]:
    """A server in a process of its own, as `alphaloop serve` starts one."""
    command = [sys.executable, "-m", "console.main", "serve", "--runtime", "process"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            assert any("ready" in line for line in server.stdout)
            yield
        finally:
            server.send_signal(signal.SIGINT)


def test_new_features_go_into_a_rollout_beside_the_champions(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new features are written side by side, both versions answer, and control checks both.

    The start warns that nobody writes the new ones yet. The challenger is recomputed without a difference,
    takes over, and its drift is watched by thresholds of its own.
    """
    run("features", "build", "--until", "2018-12-31")
    old = run("train", "momentum", "--trials", "0")[0]
    run("features", "materialize")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", json.dumps(NEW))
    new = run("train", "momentum", "--trials", "0")[0]
    assert (old["champion"], new["champion"]) == (True, False)
    _, warned = run("rollout", "start", new["version"], "--override", "new features", "--reason", "to see")
    assert "are not written to the online store yet" in warned
    written = run("features", "materialize")[0]
    assert written["further_sets"] == [old["feature_set"]] != [written["set_hash"]]
    with serving():
        traded = run("trade", "--replay", "2019-01-03:2019-01-10")[0]
        assert (traded["bars"], traded["predictions"], traded["errors"]) == (6, 120, 0)
        shown = run("rollout", "status")[0]
        assert (shown["state"], shown["evidence"]["bars"]) == ("canary", 6)
        assert shown["evidence"]["recomputation_max_abs_diff"] < 1e-6
        run("rollout", "promote", "--reason", "seen enough")
        answered = run("trade", "--replay", "2019-01-11:2019-01-16")[0]
        assert (answered["bars"], answered["errors"]) == (4, 0)
    assert run("monitor", "--once")[0]["bars"] == 10
    assert run("features", "materialize")[0]["further_sets"] == []
