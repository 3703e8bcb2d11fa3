"""A rollout's evidence in Prometheus' format: what it says, what it leaves out, and where it is found."""

from __future__ import annotations

import json
import re
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alphaloop.clock import ReplayClock, SystemClock, sleep
from alphaloop.errors import InputError, PortInUseError, SettingsError
from alphaloop.exposition import page
from alphaloop.journal.store import Journal
from alphaloop.market import to_datetime
from alphaloop.processes import free_port
from alphaloop.rollout import Override, RolloutDocument, RolloutKind, RolloutState
from console import main
from console.loop import Market
from console.world import World, open_loop
from control import operations
from control.controller import RolloutController
from control.metrics import Collector
from control.metrics_page import metrics_page, write_page
from control.standing import TESTS, Evidence, Odds, Standing
from control.tally import LAYERS, NONE, OTHER
from control.transition import CONTROL_STREAM, TRANSITION, Outcome
from features.storage.snapshots import SnapshotStore
from serving.prediction_log import PredictionLog

from .conftest import Universe

FIRST = 2_500
PREFIX = "alphaloop_rollout"
MODEL = "equities"
DRILL = Override(name="drill", by="test", reason="to see its metrics")

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(text: str) -> Samples:
    """Every sample by its name without the prefix, and its label values but the model (sorted by label)."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            values = tuple(value for name, value in sorted(one.labels.items()) if name != "model")
            assert one.name.startswith(f"{PREFIX}_")
            assert one.timestamp is None, "node_exporter refuses a file with timestamps"
            found[one.name.removeprefix(f"{PREFIX}_"), values] = one.value
    return found


def scrape(port: int) -> Samples:
    """What Prometheus would read."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


def names(found: Samples) -> set[str]:
    """The names of the samples."""
    return {name for name, _ in found}


@pytest.fixture
def controller(universe: Universe) -> RolloutController:
    """A controller whose challenger has just gone into shadow, on a clock that stands."""
    paths = universe.settings.paths
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    made = operations.make_controller(universe.settings, MODEL, journal, universe.registry)
    made._clock = ReplayClock(datetime(2024, 1, 2, tzinfo=UTC))
    made.crown("1")
    start = to_datetime(universe.bars.timestamps[FIRST])
    made.start("2", start, override=DRILL, kind=RolloutKind.SABOTAGE)
    return made


@pytest.fixture
def collector(controller: RolloutController, universe: Universe) -> Collector:
    """What is told of that controller."""
    paths = universe.settings.paths
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    return Collector(MODEL, lambda: controller.standing, journal)


def play(controller: RolloutController, universe: Universe, bars: int, **changes: float) -> None:
    """Give the controller the first bars of its rollout."""
    for index in range(FIRST + 1, FIRST + 1 + bars):
        as_of = to_datetime(universe.bars.timestamps[index])
        rows = universe.rows(index, "1", "2", **changes)
        controller.on_bar(as_of, rows, universe.bars.between(end=as_of))


def write_log(universe: Universe, bars: int) -> None:
    """Have the server's log hold the first bars of the rollout."""
    log = PredictionLog(universe.settings.paths.prediction_log)
    log.start()
    for index in range(FIRST + 1, FIRST + 1 + bars):
        for row in universe.rows(index, "1", "2"):
            log.put(row)
    log.close()


def told(collector: Collector) -> Samples:
    """What the page says now."""
    return samples(page(collector).decode())


def test_a_running_rollout_tells_its_evidence(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """E-values beside their thresholds, shares of the budget, bars seen and bars left, by layer and test."""
    play(controller, universe, bars=9)
    found, ledger = told(collector), next(iter(controller.ledgers.values()))
    summary, bounds = ledger.summary(), ledger.bounds()
    assert found["e_value_log10", ("behaviour", "against")] == summary["behaviour_log10_e"]
    assert found["e_value_log10", ("pnl", "against")] == summary["pnl_worse_log10_e"]
    assert found["e_value_log10", ("pnl", "favour")] == summary["pnl_better_log10_e"]
    assert found["e_value_threshold_log10", ("pnl", "against")] == bounds["pnl"]
    assert found["e_value_threshold_log10", ("ic", "favour")] == bounds["ic_better"]
    assert 0 < found["test_bars", ("pnl", "against")] < 9
    shares = {labels[0]: value for (name, labels), value in found.items() if name.endswith("share_ratio")}
    assert shares == {"history": 0.05, "behaviour": 0.2, "cost": 0.1, "ic": 0.3, "pnl": 0.35}
    assert found["false_rollback_probability_ratio", ()] == 0.01
    assert (found["bars", ()], found["stage_bars", ()]) == (9, 1)
    assert (found["stage_remaining_bars", ()], found["remaining_bars", ()]) == (6, 6)
    assert (found["state", ("canary",)], found["weight", ()]) == (1, 0.5)
    assert found["version", ("challenger", "2")] == 1
    assert found["kind", ("sabotage",)] == 1
    assert (
        found["last_bar_timestamp_seconds", ()]
        == to_datetime(universe.bars.timestamps[FIRST + 9]).timestamp()
    )
    assert found["document_read_timestamp_seconds", ()] == datetime(2024, 1, 2, tzinfo=UTC).timestamp()
    assert found["recomputation_difference", ()] < found["recomputation_tolerance", ()] == 1e-4
    assert (found["failed_answers", ()], found["fault", ()]) == (0, 0)
    assert found["journaled_generation", ()] == found["generation", ()] == 5
    assert found["lease_epoch", ()] >= 5


def test_what_is_not_known_is_absent_and_not_zero(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """No document: counts alone. No bar: no evidence. No bet: a threshold, and no e-value."""
    controller.standing = None
    assert names(told(collector)) == {
        "transitions_total", "ended_total", "journaled_generation", "transition_timestamp_seconds",
        "lease_epoch",
    }  # fmt: skip
    assert controller.document.state is RolloutState.SHADOW
    assert not names(told(collector)) & {"bars", "e_value_log10", "e_value_threshold_log10", "kind"}
    play(controller, universe, bars=1)
    found = told(collector)
    assert found["bars", ()] == 1
    for silent in (("history", "against"), ("ic", "against"), ("ic", "favour"), ("pnl", "favour")):
        assert ("e_value_log10", silent) not in found
        assert ("test_bars", silent) not in found
        assert ("e_value_threshold_log10", silent) in found


def test_a_rollout_that_ended_leaves_counts_and_no_evidence(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """The rollback is counted with its states, layer and hand; nothing is left that an alert could see."""
    play(controller, universe, bars=1, shift=0.01)
    found = told(collector)
    assert not names(found) & {"bars", "e_value_log10", "recomputation_difference", "fault"}
    # Labels sorted: by, from, layer, outcome, to.
    counted = {labels: value for (name, labels), value in found.items() if name == "transitions_total"}
    assert counted == {
        ("controller", NONE, NONE, NONE, "steady"): 1,
        ("controller", "steady", NONE, NONE, "shadow"): 1,
        ("controller", "shadow", "recomputation", "rolled_back", "steady"): 1,
    }
    ended = {labels[0]: value for (name, labels), value in found.items() if name == "ended_total"}
    assert ended == {"promoted": 0, "rolled_back": 1, "rejected": 0, "undecided": 0}


def test_a_rollout_that_someone_else_ended_is_no_evidence_any_more(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """Once the controller has read the document that another wrote, its old evidence is not told."""
    play(controller, universe, bars=1)
    assert ("bars", ()) in told(collector)
    operations.abort(universe.settings, MODEL, reason="by hand", by="Ada")
    assert controller.document.state is RolloutState.STEADY
    found = told(collector)
    assert ("bars", ()) not in found
    assert found["transitions_total", ("operator", "shadow", NONE, "rolled_back", "steady")] == 1


def test_being_scraped_changes_nothing(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """A controller that is scraped all the time comes to the figures and steps of one that never was."""
    stop = threading.Event()

    def scrape_on() -> int:
        scrapes = 0
        while not stop.is_set():
            assert "state" in names(told(collector))
            scrapes += 1
            # Without a pause the two threads mostly wait for each other.
            sleep(0.01)
        return scrapes

    with ThreadPoolExecutor(1) as scraper:
        scrapes = scraper.submit(scrape_on)
        play(controller, universe, bars=9)
        stop.set()
        assert scrapes.result(timeout=30) > 9, "more than one for each bar"
    rows = [row for index in range(FIRST + 1, FIRST + 10) for row in universe.rows(index, "1", "2")]
    alone = operations._open(universe.settings, MODEL)[0].rebuild(rows, universe.bars)
    assert alone.summary() == next(iter(controller.ledgers.values())).summary()
    assert controller.document.weight == 0.5


def test_counts_survive_a_restart_and_are_not_doubled(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """They are of the journal: a new process starts where the last one was, and a scrape adds none."""
    play(controller, universe, bars=2)
    first, again = told(collector), told(collector)
    assert first == again
    restarted = Collector(MODEL, lambda: None, universe_journal(universe))
    for labels in (
        ("controller", "shadow", NONE, NONE, "canary"),
        ("controller", NONE, NONE, NONE, "steady"),
    ):
        assert told(restarted)["transitions_total", labels] == first["transitions_total", labels] == 1
    controller.end(Outcome.PROMOTED, to_datetime(universe.bars.timestamps[FIRST + 2]), reason="x", by="Ada")
    assert told(collector)["ended_total", ("promoted",)] == 1


def universe_journal(universe: Universe) -> Journal:
    """The universe's journal, opened anew."""
    return Journal(universe.settings.paths.journal, universe.settings.paths.anchors, SystemClock())


def test_the_number_of_series_is_bounded(tmp_path: Path) -> None:
    """Names, reasons and layers that nobody knows, of users, versions and later releases, make no series."""
    journal = Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock())
    document = RolloutDocument(MODEL, "1", 2, RolloutState.SHADOW, "2", started="2024-01-01T00:00:00+00:00")
    odds = [Odds(layer, test, 3, 0.5, 2.0) for layer in LAYERS for test in TESTS]
    evidence = Evidence(
        rollout="2@2024-01-01T00:00:00+00:00", kind=RolloutKind.REAL, as_of=datetime(2024, 1, 2, tzinfo=UTC),
        bars=1, past_bars=0, stage_bars=1, stage_bars_left=1, bars_left=1, recomputation=0.0, tolerance=1e-4,
        failures=0, fault=False, false_rollback=0.01, shares=(("ic", 0.3),), odds=tuple(odds),
    )  # fmt: skip
    standing = Standing(document, datetime(2024, 1, 2, tzinfo=UTC), evidence)
    collector = Collector(MODEL, lambda: standing, journal)

    def rollouts(count: int, text: Callable[[int], str]) -> None:
        body = {"model": MODEL, "state": "steady", "generation": 1}
        with journal.writer(CONTROL_STREAM) as writer:
            for number in range(count):
                odd = text(number)
                steps = ({"layer": odd, "outcome": None}, {"layer": "ic", "outcome": odd})
                for step in (*steps, {"layer": "", "outcome": None, "state": odd}, {"model": odd} | steps[0]):
                    writer.append(TRANSITION, body | {"by": odd, "version": odd, "reason": odd} | step)

    rollouts(2, lambda number: f"first-{number}")
    before = told(collector)
    rollouts(60, lambda number: f"odd-{number}")
    standing = Standing(replace(document, champion="61", challenger="62"), standing.read_at, evidence)
    after = told(collector)
    assert len(after) == len(before)
    known = {
        NONE, OTHER, "controller", "operator", "champion", "challenger", "61", "62", *LAYERS, *TESTS,
        *RolloutState, *RolloutKind, *Outcome,
    }  # fmt: skip
    assert {value for _, labels in after for value in labels} <= known


def test_names_follow_the_conventions(
    controller: RolloutController, collector: Collector, universe: Universe
) -> None:
    """Every family has help and a type, counters end in _total, and times are in seconds."""
    play(controller, universe, bars=3)
    text = page(collector).decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(rf"{PREFIX}_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter"}
        assert (family.type == "counter") == all(one.name.endswith("_total") for one in family.samples)
        if "timestamp" in family.name:
            assert family.name.endswith("_timestamp_seconds")


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
    assert main.run(["rollout", "metrics"]) == 0
    found = samples(capsys.readouterr().out)
    assert main.run(["rollout", "status", "--json"]) == 0
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
    assert main.run(["rollout", "metrics", "--output", str(file)]) == 0
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
    assert main.run(["rollout", "metrics", *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_failed_write_keeps_the_old_file(
    controller: RolloutController, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the move fails, the old page stands and no half of a new one is left."""
    file = tmp_path / "alphaloop.prom"
    file.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("control.metrics_page.os.replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_page(collector, file)
    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if "prom" in one.name] == ["alphaloop.prom"]


class Nothing:
    """A collector of one family."""

    def collect(self) -> Iterator[Any]:
        from alphaloop.exposition import gauge

        yield gauge("alphaloop_rollout_bars", "Bars.")


def test_the_page_leaves_no_port_and_no_thread() -> None:
    """It answers while it is open, on loopback; closing it ends even who connected and asked nothing."""
    before, port = threading.active_count(), free_port()
    with metrics_page(Nothing(), port):
        assert scrape(port) == {}
        silent = socket.create_connection(("127.0.0.1", port))
    silent.close()
    assert threading.active_count() == before
    with pytest.raises(URLError, match="refused"):
        scrape(port)
    with metrics_page(Nothing(), port):
        assert scrape(port) == {}


def test_port_0_serves_nothing() -> None:
    """The default opens no port and starts no thread."""
    before = threading.active_count()
    with metrics_page(Nothing(), 0):
        assert threading.active_count() == before


def test_a_port_that_is_taken_is_said() -> None:
    """The error names the port and the setting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(PortInUseError, match=rf"port {port} .* set rollout.metrics_port"),
            metrics_page(Nothing(), port),
        ):
            pytest.fail("it was served")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_said(host: str) -> None:
    """The error names the address, and what would do."""
    named = rf"rollout.metrics_host is '{host}' .* cannot be bound .* or 0\.0\.0\.0 for all"
    with pytest.raises(SettingsError, match=named), metrics_page(Nothing(), free_port(), host):
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
    world = World(settings, clock, universe_journal(universe), universe.registry)
    market = Market("sp500-20", past, future, snapshot)
    with open_loop(world, market, stream="trading", watched=False) as loop:
        assert "bars" not in names(scrape(port))
        play(loop.controller, universe, bars=1)
        found = scrape(port)
        assert (found["bars", ()], found["state", ("shadow",)]) == (1, 1)
    with pytest.raises(URLError, match="refused"):
        scrape(port)
    assert not [one.name for one in threading.enumerate() if "serve_forever" in one.name]
