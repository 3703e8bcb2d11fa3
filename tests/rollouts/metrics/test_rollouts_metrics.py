"""A rollout's evidence in Prometheus' format: what it says, and what it leaves out."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock, sleep
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument, RolloutKind, RolloutState
from alphaloop.telemetry.prometheus import render_metrics
from rollouts import operations
from rollouts.controller import RolloutController
from rollouts.metrics import RolloutCollector
from rollouts.status import TEST_DIRECTIONS, EValue, RolloutEvidence, RolloutStatus
from rollouts.transition import ROLLOUT_TRANSITION, RolloutOutcome
from rollouts.transition_counts import LAYERS, NONE, OTHER

from ..conftest import Universe
from .metrics_samples import FIRST, MODEL, PREFIX, names, play, told, universe_journal


def test_a_running_rollout_tells_its_evidence(
    controller: RolloutController, collector: RolloutCollector, universe: Universe
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
    controller: RolloutController, collector: RolloutCollector, universe: Universe
) -> None:
    """No document: counts alone. No bar: no evidence. No bet: a threshold, and no e-value."""
    controller.status = None
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
    controller: RolloutController, collector: RolloutCollector, universe: Universe
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
    controller: RolloutController, collector: RolloutCollector, universe: Universe
) -> None:
    """Once the controller has read the document that another wrote, its old evidence is not told."""
    play(controller, universe, bars=1)
    assert ("bars", ()) in told(collector)
    operations.abort_rollout(universe.settings, MODEL, reason="by hand", by="Ada")
    assert controller.document.state is RolloutState.STEADY
    found = told(collector)
    assert ("bars", ()) not in found
    assert found["transitions_total", ("operator", "shadow", NONE, "rolled_back", "steady")] == 1


def test_being_scraped_changes_nothing(
    controller: RolloutController, collector: RolloutCollector, universe: Universe
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
    controller: RolloutController, collector: RolloutCollector, universe: Universe
) -> None:
    """They are of the journal: a new process starts where the last one was, and a scrape adds none."""
    play(controller, universe, bars=2)
    first, again = told(collector), told(collector)
    assert first == again
    restarted = RolloutCollector(MODEL, lambda: None, universe_journal(universe))
    for labels in (
        ("controller", "shadow", NONE, NONE, "canary"),
        ("controller", NONE, NONE, NONE, "steady"),
    ):
        assert told(restarted)["transitions_total", labels] == first["transitions_total", labels] == 1
    controller.end(
        RolloutOutcome.PROMOTED, to_datetime(universe.bars.timestamps[FIRST + 2]), reason="x", by="Ada"
    )
    assert told(collector)["ended_total", ("promoted",)] == 1


def test_the_number_of_series_is_bounded(tmp_path: Path) -> None:
    """Names, reasons and layers that nobody knows, of users, versions and later releases, make no series."""
    journal = Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock())
    document = RolloutDocument(MODEL, "1", 2, RolloutState.SHADOW, "2", started="2024-01-01T00:00:00+00:00")
    odds = [EValue(layer, test, 3, 0.5, 2.0) for layer in LAYERS for test in TEST_DIRECTIONS]
    evidence = RolloutEvidence(
        rollout="2@2024-01-01T00:00:00+00:00", kind=RolloutKind.REAL, as_of=datetime(2024, 1, 2, tzinfo=UTC),
        bars=1, past_bars=0, stage_bars=1, stage_bars_left=1, bars_left=1, recomputation=0.0, tolerance=1e-4,
        failures=0, fault=False, false_rollback=0.01, shares=(("ic", 0.3),), odds=tuple(odds),
    )  # fmt: skip
    standing = RolloutStatus(document, datetime(2024, 1, 2, tzinfo=UTC), evidence)
    collector = RolloutCollector(MODEL, lambda: standing, journal)

    def rollouts(count: int, text: Callable[[int], str]) -> None:
        body = {"model": MODEL, "state": "steady", "generation": 1}
        with journal.writer(CONTROL_STREAM) as writer:
            for number in range(count):
                odd = text(number)
                steps = ({"layer": odd, "outcome": None}, {"layer": "ic", "outcome": odd})
                for step in (*steps, {"layer": "", "outcome": None, "state": odd}, {"model": odd} | steps[0]):
                    writer.append(
                        ROLLOUT_TRANSITION, body | {"by": odd, "version": odd, "reason": odd} | step
                    )

    rollouts(2, lambda number: f"first-{number}")
    before = told(collector)
    rollouts(60, lambda number: f"odd-{number}")
    standing = RolloutStatus(replace(document, champion="61", challenger="62"), standing.read_at, evidence)
    after = told(collector)
    assert len(after) == len(before)
    known = {
        NONE, OTHER, "controller", "operator", "champion", "challenger", "61", "62", *LAYERS,
        *TEST_DIRECTIONS, *RolloutState, *RolloutKind, *RolloutOutcome,
    }  # fmt: skip
    assert {value for _, labels in after for value in labels} <= known


def test_names_follow_the_conventions(
    controller: RolloutController, collector: RolloutCollector, universe: Universe
) -> None:
    """Every family has help and a type, counters end in _total, and times are in seconds."""
    play(controller, universe, bars=3)
    text = render_metrics(collector).decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(rf"{PREFIX}_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter"}
        assert (family.type == "counter") == all(one.name.endswith("_total") for one in family.samples)
        if "timestamp" in family.name:
            assert family.name.endswith("_timestamp_seconds")
