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

from alphaloop.bars import to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.journal.store import Journal
from alphaloop.runtime.processes import free_port
from alphaloop.settings import settings
from cli import main
from cli.commands import trade
from loop.wiring import LoopContext, open_loop
from models.registry.model_registry import Registry
from serving.log.prediction_log import PredictionLogReader

Run = Callable[..., Any]
NEW = ["momentum_252_21", "mine = close / sma(30) - 1", "rsi(9)"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb in a workspace of its own; gives the JSON that it answered and what it warned of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", str(free_port()))
    # Years enough to train on, though not for the gate; more of them would prove nothing here.
    monkeypatch.setenv("ALPHALOOP_DATA__START", "2012-01-01")
    for name in ("HTTP_PORT", "METRICS_PORT"):
        monkeypatch.setenv(f"ALPHALOOP_SERVING__{name}", "0")
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)

    def run_verb(*arguments: str) -> tuple[Any, str]:
        code = main.run_command([*arguments, "--json"])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out), shown.err

    return run_verb


@contextmanager
def serving() -> Iterator[None]:
    """A server in a process of its own, as `alphaloop serve` starts one."""
    command = [sys.executable, "-m", "cli.main", "serve", "--runtime", "process"]
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


def train_both(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A champion whose features are online, and a version of new features, which are the settings' now."""
    run("features", "build", "--until", "2018-12-31")
    old = run("train", "momentum", "--trials", "0")[0]
    run("rollout", "crown", old["version"], "--override", "few years", "--reason", "to have a champion")
    run("features", "materialize")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", json.dumps(NEW))
    return old, run("train", "momentum", "--trials", "0")[0]


def test_new_features_go_into_a_rollout_beside_the_champions(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new features are written side by side, both versions answer, and control checks both.

    The start warns that nobody writes the new ones yet. The challenger is recomputed without a difference,
    takes over, and its drift is watched by thresholds of its own.
    """
    old, new = train_both(run, monkeypatch)
    assert not new["champion"]
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


def test_a_rollout_that_starts_while_trading_runs_gets_its_features(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trading that began on the champion's features alone writes the challenger's from the next bar on.

    It is not started again, no forecast fails, and the challenger is judged on features of its own.
    """
    old, new = train_both(run, monkeypatch)
    monkeypatch.delenv("ALPHALOOP_FEATURES__SET")
    chosen = settings.load_settings()
    market = trade._market(chosen, "2019-01-03:2019-01-10")
    clock = ReplayClock(to_datetime(market.past.timestamps[-1]))
    journal = Journal(chosen.paths.journal, chosen.paths.anchors, clock)
    world = LoopContext(chosen, clock, journal, Registry(chosen.paths.registry))
    with serving(), open_loop(world, market, stream="trading", watched=False) as loop:
        bars = list(market.future.slices())
        loop.turn(bars[0])
        assert [made.feature_set for made in loop.duty.streamer.made] == [old["feature_set"]]
        _, warned = run(
            "rollout", "start", new["version"], "--override", "new features", "--reason", "to see"
        )
        assert "a running alphaloop trade does so from its next bar on" in warned
        for one in bars[1:]:
            loop.turn(one)
        loop.finish()
        assert [made.feature_set for made in loop.duty.streamer.made] == [
            old["feature_set"], new["feature_set"]
        ]  # fmt: skip
        assert (len(loop.forecaster.latencies_ms), loop.forecaster.errors) == (len(bars) * 20, 0)
    shown = run("rollout", "status")[0]
    assert shown["evidence"]["bars"] == len(bars) - 1
    assert shown["evidence"]["recomputation_max_abs_diff"] < 1e-6
    rows = PredictionLogReader(chosen.paths.prediction_log, chosen.serving.model).new()
    beside = [row for row in rows if row.version == new["version"]]
    assert beside and all(row.error is None and row.feature_set == new["feature_set"] for row in beside)
