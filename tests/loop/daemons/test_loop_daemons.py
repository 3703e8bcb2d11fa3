"""The parts as processes on one home: they trade as the loop in one process, and survive being killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.journal.opening import open_journal
from alphaloop.journal.upkeep.normal_form import normal_form
from alphaloop.runtime.processes import free_port
from alphaloop.settings.settings import Settings, load_settings
from marketdata.configured_source import chosen_identity

SYMBOLS = "AAPL,BAC,GE,JNJ,KO,MSFT,PG,XOM"
DAYS = "2019-01-02:2019-02-13"
KINDS = {"decision", "order", "fill", "cross", "refusal", "corporate_action"}
PARTS = {
    "features stream": ("features", "stream", "--replay", DAYS, "--lockstep"),
    "trade": ("trade", "--live"),
    "control": ("control", "run", "--lockstep"),
    "pipeline": ("pipeline", "serve"),
}

pytestmark = pytest.mark.timeout(400)


class Daemons:
    """The parts of one home, each in a process of its own, with their output in files."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, {**os.environ, **environment}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *arguments: str) -> Any:
        """Run a verb to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments, "--json"],
            env=self.environment, cwd=self.folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part, or start it again."""
        with (self.folder / f"{name}.log").open("ab") as shown:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *(arguments or PARTS[name])],
                env=self.environment, cwd=self.folder, stdout=shown, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self.processes[name]

    def said(self, name: str) -> str:
        """What a part has printed so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> dict[str, int]:
        """End every part as a supervisor does; gives the exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(30) for name, process in self.processes.items()}

    @property
    def settings(self) -> Settings:
        """Settings of the home, as the processes see them."""
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(self.folder)
            for name, value in self.environment.items():
                patched.setenv(name, value)
            return load_settings()

    def await_bar(self, number: int, seconds: float = 120.0) -> None:
        """Wait until the streamer has published this many bars."""
        chosen, deadline = self.settings, monotonic() + seconds
        with open_journal(chosen, SystemClock()) as journal:
            while True:
                head = journal.heads.read(chosen_identity(chosen))
                if head is not None and head.number >= number:
                    return
                assert monotonic() < deadline, {name: self.said(name) for name in self.processes}
                sleep(0.05)

    def records(self, stream: str) -> list[tuple[str, Any]]:
        """Kind and body of a stream's records in normal form."""
        with open_journal(self.settings, SystemClock()) as journal:
            return [(one["kind"], one["body"]) for one in normal_form(journal.records(stream))]


def _environment(folder: Path) -> dict[str, str]:
    ports = {f"ALPHALOOP_SERVING__{name}": "0" for name in ("HTTP_PORT", "METRICS_PORT")}
    port = free_port()
    return {
        **ports,
        "ALPHALOOP_SERVING__GRPC_PORT": str(port),
        "ALPHALOOP_CLIENT__URLS": f"127.0.0.1:{port}",
        "ALPHALOOP_HOME": str(folder / "home"),
        "ALPHALOOP_DATA__SYMBOLS": SYMBOLS,
        "ALPHALOOP_DATA__START": "2014-01-01",
        "ALPHALOOP_ROLLOUT__SHADOW_BARS": "5",
        "ALPHALOOP_ROLLOUT__STAGE_BARS": "8",
        "ALPHALOOP_ROLLOUT__MAX_BARS": "40",
        "ALPHALOOP_JOURNAL__LEASE_SECONDS": "2",
        "ALPHALOOP_TRADING__PREDICTION_DEADLINE_MS": "30000",
        "PYTHONSAFEPATH": "1",
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion and a challenger in shadow, before the first live bar."""
    folder = tmp_path_factory.mktemp("prepared")
    desk = Daemons(folder, _environment(folder))
    desk.run("features", "build", "--until", "2018-12-31")
    why = ("--override", "few years", "--reason", "to have two versions")
    for verb in ("crown", "start"):
        version = desk.run("train", "momentum", "--trials", "0")["version"]
        desk.run("rollout", verb, version, *why)
    return folder


@pytest.fixture
def desk(prepared: Path, tmp_path: Path) -> Iterator[Daemons]:
    """The parts of a copy of the prepared home; those that still run are killed at the end."""
    shutil.copytree(prepared / "home", tmp_path / "home")
    made = Daemons(tmp_path, _environment(tmp_path))
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()


@pytest.mark.long
def test_the_parts_trade_as_the_loop_in_one_process(desk: Daemons, prepared: Path, tmp_path: Path) -> None:
    """Each part is killed once in the middle of the replay, and the streams are those of one process.

    Control judges a bar when the next one is decided, so that the replay's last bar waits; the loop in one
    process closes it at its end.
    """
    alone = tmp_path / "alone"
    shutil.copytree(prepared / "home", alone / "home")
    one = Daemons(alone, _environment(alone))
    with ExitStack() as ending:
        ending.callback(one.stop)
        one.start("serve", "serve", "--runtime", "process")
        one.run("trade", "--replay", DAYS)
    desk.start("serve", "serve", "--runtime", "process")
    for name in PARTS:
        desk.start(name)
    for number, name in enumerate(PARTS, start=1):
        desk.await_bar(5 * number)
        desk.processes[name].kill()
        desk.processes[name].wait()
        desk.start(name)
    assert desk.processes["features stream"].wait(200) == 0, desk.said("features stream")
    assert desk.stop() == dict.fromkeys(desk.processes, 0), {name: desk.said(name) for name in PARTS}
    decided = [one for one in desk.records("trading") if one[0] in KINDS]
    assert len([kind for kind, _ in decided if kind == "decision"]) == 30
    assert decided == [record for record in one.records("trading") if record[0] in KINDS]
    last = next(body["as_of"] for kind, body in reversed(decided) if kind == "decision")
    assert desk.records("control") == [
        record for record in one.records("control") if record[1].get("as_of") != last
    ]
    assert any(kind == "rollout.transition" for kind, _ in desk.records("control"))


def test_a_second_instance_waits_and_goes_on(tmp_path: Path) -> None:
    """A standby says for whom it waits, and takes the role at once when the first one drains with 0."""
    desk = Daemons(tmp_path, _environment(tmp_path))
    try:
        _hand_over(desk)
    finally:
        for process in desk.processes.values():
            process.kill()


def _hand_over(desk: Daemons) -> None:
    first = desk.start("pipeline")
    _await(lambda: "role 'runner' is held" in desk.said("pipeline"))
    desk.start("second", "pipeline", "serve")
    _await(lambda: re.search(r"standby: role 'runner' is held by", desk.said("second")) is not None)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    _await(lambda: "role 'runner' is held\n" in desk.said("second"))


def _await(condition: Any, seconds: float = 30.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)
