"""What `rollout start` says of the features that its versions need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alphaloop.clock import SystemClock
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.settings.features import FeatureSettings
from features.feature_set import FeatureSet
from features.store.streamer import Streamer
from rollouts import operations

from .conftest import Universe


@pytest.fixture
def document(universe: Universe) -> RolloutDocument:
    """Version 2 in the shadow of version 1, both of the settings' features."""
    return RolloutDocument(
        universe.settings.serving.model, "1", challenger="2", state=RolloutState.SHADOW, started="2010-01-04"
    )


def test_nothing_is_said_where_the_features_are_written_or_nothing_is_yet(
    universe: Universe, document: RolloutDocument
) -> None:
    """An empty store says nothing of what will be written to it."""
    assert operations.features_warning(universe.settings, document) == ""
    with Streamer.from_settings(
        universe.settings, universe.bars.symbols, universe.bars, SystemClock()
    ) as streamer:
        streamer.materialize("s")
    assert operations.features_warning(universe.settings, document) == ""


def test_each_version_without_features_is_named(universe: Universe, document: RolloutDocument) -> None:
    """Champion and challenger alike, and what will write them."""
    other = FeatureSet(("rsi(3)",))
    with Streamer(
        universe.settings.paths.feast, other, universe.bars.symbols, universe.bars, 2, SystemClock()
    ) as streamer:
        streamer.materialize("s")
    told = operations.features_warning(universe.settings, document)
    assert "version 1 was trained on are not written" in told
    assert "version 2 was trained on are not written" in told
    assert "alphaloop features materialize" in told


def test_a_store_that_is_away_fails_no_start(universe: Universe, document: RolloutDocument) -> None:
    """The rollout has begun by then: it is said that it cannot be told."""
    away = FeatureSettings(online="redis://127.0.0.1:1/0")
    settings = universe.settings.model_copy(update={"features": away})
    told = operations.features_warning(settings, replace(document, champion="2", challenger=None))
    assert told.startswith("whether the features of each version are written cannot be told: ")
