"""The loop closes by itself: server, executor, control and runner as processes on one home, in lockstep.

Nothing is done by hand: a drift alarm leads to a retraining, and its candidate to a rollout or a reasoned
refusal. With control and the runner killed on the way, the journal says the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.journal.opening import open_journal, verify_configured_journal
from alphaloop.journal.streams import CONTROL_STREAM, MONITORING_STREAM, PIPELINE_STREAM, REQUEST_STREAM
from alphaloop.journal.upkeep.normal_form import normal_form
from alphaloop.runtime.processes import child_environment, free_port
from alphaloop.settings.settings import Settings, load_settings

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]

FIRST, LAST = "2020-01-02", "2020-04-30"
CONCLUSIONS = ("candidate.proposed", "candidate.refused", "retrain.finished")


def environment(home: Path, port: int = 0) -> dict[str, str]:
    """The settings of a run, as variables."""
    chosen = {
        "ALPHALOOP_HOME": str(home),
        "ALPHALOOP_RETRAIN__MATURED_LABELS": "10",
        "ALPHALOOP_TRAINING__TRIALS": "0",
        "ALPHALOOP_TRAINING__FOLDS": "2",
        "ALPHALOOP_TRADING__PREDICTION_DEADLINE_MS": "30000",
        "ALPHALOOP_SERVING__RUNTIME": "process",
        "ALPHALOOP_SERVING__HTTP_PORT": "0",
        "ALPHALOOP_SERVING__METRICS_PORT": "0",
        "ALPHALOOP_SERVING__DRAIN_SECONDS": "0",
        "ALPHALOOP_SERVING__GRPC_PORT": str(port or free_port()),
    }
    return child_environment(chosen)


def alphaloop(folder: Path, given: dict[str, str], *words: str) -> str:
    """Run a command to its end; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", *words], cwd=folder, env=given, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


class Part:
    """A daemon in a process of its own; it can be killed and started again."""

    def __init__(self, folder: Path, given: dict[str, str], *words: str) -> None:
        self._folder, self._given, self._words = folder, given, words
        self._log = (folder / f"{words[0]}.log").open("a")
        self.start()

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", *self._words], cwd=self._folder, env=self._given,
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def kill(self) -> None:
        """End it and all that it started, with no warning."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        self._log.close()
        return code


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion that was trained on the bars before the replay."""
    folder = tmp_path_factory.mktemp("circle")
    given = environment(folder / "home")
    alphaloop(folder, given, "features", "build", "--until", "2019-12-31")
    alphaloop(folder, given, "train", "momentum")
    return folder


@contextmanager
def parts(folder: Path, given: dict[str, str]) -> Iterator[dict[str, Part]]:
    """Server, control and runner of a home; each ends with 0."""
    started = {
        "serve": Part(folder, given, "serve"),
        "control": Part(folder, given, "control", "run", "--lockstep"),
        "pipeline": Part(folder, given, "pipeline", "serve"),
    }
    with ExitStack() as stack:
        for part in started.values():
            stack.callback(part.kill)
        yield started
        assert [part.end() for part in started.values()] == [0, 0, 0]
        stack.pop_all()


def play(prepared: Path, folder: Path, *, kills: bool) -> Settings:
    """Replay the bars on a copy of the prepared home; returns its settings."""
    folder.mkdir()
    shutil.copytree(prepared / "home", folder / "home")
    given = environment(folder / "home", free_port())
    alphaloop(folder, given, "features", "materialize")
    settings = load_settings(home=folder / "home")
    with parts(folder, given) as running:
        trade = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "trade", "--replay", f"{FIRST}:{LAST}", "--lockstep"],
            cwd=folder, env=given, stdout=(folder / "trade.log").open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            if kills:
                kill_and_restart(settings, running)
            assert trade.wait(600) == 0, (folder / "trade.log").read_text()
        finally:
            trade.kill()
    return settings


def kill_and_restart(settings: Settings, running: dict[str, Part]) -> None:
    """Kill control between two bars, and the runner in the middle of a training; both start again."""
    with open_journal(settings, SystemClock()) as journal:

        def wait(stream: str, kind: str) -> None:
            began = monotonic()
            while journal.last(stream, kind) is None:
                assert monotonic() - began < 300, f"no {kind}"
                sleep(0.05)

        wait(MONITORING_STREAM, "drift.alarm")
        running["control"].kill()
        sleep(1.0)
        running["control"].start()
        wait(PIPELINE_STREAM, "retrain.started")
        sleep(4.0)
        running["pipeline"].kill()
        running["pipeline"].start()


def told(settings: Settings) -> dict[str, list[Any]]:
    """Kinds and bodies of every stream in their normal form; of the runner's, what its causes came to."""
    with open_journal(settings, SystemClock()) as journal:
        streams = (CONTROL_STREAM, MONITORING_STREAM, REQUEST_STREAM, PIPELINE_STREAM)
        found: dict[str, list[Any]] = {
            stream: [(one["kind"], one["body"]) for one in normal_form(journal.records(stream))]
            for stream in streams
        }
        found[PIPELINE_STREAM] = [one for one in found[PIPELINE_STREAM] if one[0] in CONCLUSIONS]
        orders = journal.records("trading", "order")
        names = ("client_order_id", "symbol", "side", "quantity")
        found["orders"] = [tuple(record.body[name] for name in names) for record in orders]
    return found


@pytest.fixture(scope="module")
def quiet(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What the journal says after a run in which nothing is killed."""
    settings = play(prepared, tmp_path_factory.mktemp("quiet") / "run", kills=False)
    assert all(chain.ok for chain in verify_configured_journal(settings))
    return told(settings)


def test_an_alarm_leads_to_a_retraining_and_a_reasoned_end(quiet: dict[str, list[Any]]) -> None:
    """Alarm, request, conclusion and control's answer have one cause."""
    (alarm,) = [body for kind, body in quiet[MONITORING_STREAM] if kind == "drift.alarm"]
    ((kind, request),) = quiet[REQUEST_STREAM]
    assert (kind, request["cause_id"]) == ("retrain.request", alarm["cause_id"])
    conclusion, finished = quiet[PIPELINE_STREAM]
    assert conclusion[1]["cause_id"] == finished[1]["cause_id"] == alarm["cause_id"]
    (answer,) = [body for kind, body in quiet[CONTROL_STREAM] if kind == "candidate.taken"]
    assert (answer["cause_id"], answer["version"]) == (alarm["cause_id"], conclusion[1]["version"])
    assert answer["outcome"] == ("started" if conclusion[0] == "candidate.proposed" else "refused")
    assert answer["reason"]


def test_killed_control_and_runner_change_nothing(
    prepared: Path, quiet: dict[str, list[Any]], tmp_path: Path
) -> None:
    """Requests, conclusions, answers, findings and orders are those of the run without kills."""
    settings = play(prepared, tmp_path / "run", kills=True)
    assert all(chain.ok for chain in verify_configured_journal(settings))
    assert told(settings) == quiet
