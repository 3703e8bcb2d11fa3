"""A rollout that has just begun, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import ReplayClock, SystemClock
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import RolloutKind
from rollouts import operations
from rollouts.controller import RolloutController
from rollouts.metrics import RolloutCollector

from ..conftest import Universe
from .metrics_samples import DRILL, FIRST, MODEL


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
def collector(controller: RolloutController, universe: Universe) -> RolloutCollector:
    """What is told of that controller."""
    paths = universe.settings.paths
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    return RolloutCollector(MODEL, lambda: controller.status, journal)
