"""Where a rollout's metrics are found: printed, in a file for node_exporter, and on a port."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.errors import InputError, PortInUseError, SettingsError
from alphaloop.runtime.processes import free_port
from cli import main
from loop.turn import ReplayMarket
from loop.wiring import LoopContext, open_loop
from marketdata.storage.snapshots import SnapshotStore
from rollouts.controller import RolloutController
from rollouts.metrics import RolloutCollector
from rollouts.metrics_page import serve_metrics, write_metrics_file
from serving.log.prediction_log import PredictionLog

from ..conftest import Universe
from .metrics_samples import FIRST, Samples, names, play, samples, universe_journal


def scrape(port: int) -> Samples:
    """What Prometheus would read."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


def write_log(universe: Universe, bars: int) -> None:
    """Have the server's log hold the first bars of the rollout."""
    log = PredictionLog(universe.settings.paths.prediction_log)
    log.start()
    for index in range(FIRST + 1, FIRST + 1 + bars):
        for row in universe.rows(index, "1", "2"):
            log.put(row)
    log.close()


@pytest.fixture
def at_home(
    controller: RolloutController, universe: Universe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Universe:
    """The universe with a rollout under way, as the command's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(universe.settings.home))
    return universe


def test_the_command_prints_what_status_shows(at_home: Universe, capsys: pytest.CaptureFixture[str]) -> None:
    """`rollout metrics` computes the page from registry and log, with the figures of `rollout status`."""
    write_log(at_home, bars=8)
    assert main.run_command(["rollout", "metrics"]) == 0
    found = samples(capsys.readouterr().out)
    assert main.run_command(["rollout", "status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert found["bars", ()] == shown["evidence"]["bars"] == 8
    assert found["generation", ()] == shown["generation"]
    assert found["stage_remaining_bars", ()] == shown["stage"]["bars_left_at_least"]
    assert found["remaining_bars", ()] == shown["stage"]["bars_left_at_most"]
    for (layer, test), name in (
        (("behaviour", "against"), "behaviour"),
        (("pnl", "against"), "pnl"),
        (("pnl", "favour"), "pnl_better"),
    ):
        assert found["e_value_log10", (layer, test)] == shown["ends_when"][name]["log10_e"]
        assert found["e_value_threshold_log10", (layer, test)] == shown["ends_when"][name]["bound"]


def test_the_command_writes_a_file_for_node_exporter(
    at_home: Universe, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The file is replaced whole, others may read it, and nothing else is left in its folder."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    file = folder / "alphaloop.prom"
    file.write_text("old")
    assert main.run_command(["rollout", "metrics", "--output", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert samples(file.read_text())["state", ("shadow",)] == 1
    assert stat.S_IMODE(file.stat().st_mode) & 0o044 == 0o044
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "page.txt"], "does not end in .prom"),
        (["--output", "nowhere/page.prom"], "cannot be written (No such file or directory)"),
        (["--model", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    at_home: Universe, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """A wrong file, folder or model exits with 2 and says so in one line."""
    assert main.run_command(["rollout", "metrics", *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_failed_write_keeps_the_old_file(
    controller: RolloutController,
    collector: RolloutCollector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the move fails, the old page stands and no half of a new one is left."""
    file = tmp_path / "alphaloop.prom"
    file.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rollouts.metrics_page.os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_metrics_file(collector, file)
    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if "prom" in one.name] == ["alphaloop.prom"]


class Nothing:
    """A collector of one family."""

    def collect(self) -> Iterator[Any]:
        from alphaloop.telemetry.prometheus import model_gauge

        yield model_gauge("alphaloop_rollout_bars", "Bars.")


def test_the_page_leaves_no_port_and_no_thread() -> None:
    """It answers while it is open, on loopback; closing it ends even who connected and asked nothing."""
    before, port = set(threading.enumerate()), free_port()
    with serve_metrics(Nothing(), port):
        assert scrape(port) == {}
        silent = socket.create_connection(("127.0.0.1", port))
    silent.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(URLError, match="refused"):
        scrape(port)
    with serve_metrics(Nothing(), port):
        assert scrape(port) == {}


def test_port_0_serves_nothing() -> None:
    """The default opens no port and starts no thread."""
    before = set(threading.enumerate())
    with serve_metrics(Nothing(), 0):
        assert set(threading.enumerate()) <= before


def test_a_port_that_is_taken_is_said() -> None:
    """The error names the port and the setting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(PortInUseError, match=rf"port {port} .* set rollout.metrics_port"),
            serve_metrics(Nothing(), port),
        ):
            pytest.fail("it was served")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_said(host: str) -> None:
    """The error names the address, and what would do."""
    named = rf"rollout.metrics_host is '{host}' .* cannot be bound .* or 0\.0\.0\.0 for all"
    with pytest.raises(SettingsError, match=named), serve_metrics(Nothing(), free_port(), host):
        pytest.fail("it was served")


def test_a_loop_serves_the_page_while_it_runs(controller: RolloutController, universe: Universe) -> None:
    """Where the settings name a port, who runs a controller is scraped, and not after."""
    port = free_port()
    rollout = universe.settings.rollout.model_copy(update={"metrics_port": port})
    settings = universe.settings.model_copy(update={"rollout": rollout})
    past = universe.bars.between(end=to_datetime(universe.bars.timestamps[FIRST]))
    future = universe.bars.between(start=to_datetime(universe.bars.timestamps[FIRST + 1]))
    snapshot = SnapshotStore(settings.paths.snapshots).save(past.to_table(), "sp500-20")
    clock = ReplayClock(to_datetime(past.timestamps[-1]))
    world = LoopContext(settings, clock, universe_journal(universe), universe.registry)
    market = ReplayMarket("sp500-20", past, future, snapshot)
    with open_loop(world, market, stream="trading", watched=False) as loop:
        assert "bars" not in names(scrape(port))
        play(loop.controller, universe, bars=1)
        found = scrape(port)
        assert (found["bars", ()], found["state", ("shadow",)]) == (1, 1)
    with pytest.raises(URLError, match="refused"):
        scrape(port)
    assert not [one.name for one in threading.enumerate() if "serve_forever" in one.name]
