"""What a page of metrics says, by name and labels, and a rollout that plays its first bars."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import Override
from alphaloop.telemetry.prometheus import render_metrics
from rollouts.controller import RolloutController
from rollouts.metrics import RolloutCollector

from ..conftest import Universe

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


def names(found: Samples) -> set[str]:
    """The names of the samples."""
    return {name for name, _ in found}


def play(controller: RolloutController, universe: Universe, bars: int, **changes: float) -> None:
    """Give the controller the first bars of its rollout."""
    for index in range(FIRST + 1, FIRST + 1 + bars):
        as_of = to_datetime(universe.bars.timestamps[index])
        rows = universe.rows(index, "1", "2", **changes)
        controller.on_bar(as_of, rows, universe.bars.between(end=as_of))


def told(collector: RolloutCollector) -> Samples:
    """What the page says now."""
    return samples(render_metrics(collector).decode())


def universe_journal(universe: Universe) -> Journal:
    """The universe's journal, opened anew."""
    return Journal(universe.settings.paths.journal, universe.settings.paths.anchors, SystemClock())
