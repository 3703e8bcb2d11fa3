"""The whole catalogue, in time: nothing published later is seen, and the online store says the same.

The bars are those of `test_features_catalogue.py`; a sample is looked at in each run, all of it in the
long one.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from features import parity
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import FeatureSet, catalogue_feature_set
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.adjusted_rows import adjust_rows

BARS, CUT = 130, 90


def _universes() -> ModuleType:
    """The neighbour's bars: test modules do not import one another by name."""
    path = Path(__file__).with_name("test_features_catalogue.py")
    spec = importlib.util.spec_from_file_location("catalogue_universes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


universes = _universes()


def whole(bars: BarPanel) -> FeatureSet:
    """Every output of every indicator."""
    return catalogue_feature_set(bars)


def sampled(bars: BarPanel) -> FeatureSet:
    """Every seventh of them."""
    chosen = whole(bars).features[::7]
    return FeatureSet([f"f{place} = {one.formula}" for place, one in enumerate(chosen)], warmup=False)


def features_of(bars: BarPanel, actions: list[CorporateAction], chosen: FeatureSet) -> FeatureFrame:
    """Features of bars that are adjusted by what was known at each."""
    return backfill(BarPanel.from_table(adjust_rows(bars.to_table(), actions), bars.symbols), chosen)


def action(bars: BarPanel, at: int, days_late: int, value: float) -> CorporateAction:
    """A split of the first symbol at bar `at`, published so many days after it took effect."""
    moment = bars.at(at).timestamp
    return CorporateAction("A", moment.date(), moment + timedelta(days=days_late), "split", value)


def assert_nothing_later_is_seen(chosen: FeatureSet, bars: BarPanel) -> None:
    """Other bars and actions after the cut leave every feature at or before it as it was."""
    early = [action(bars, 30, -10, 2.0), action(bars, 50, 4, 1.5)]
    before = features_of(bars, early, chosen)
    other = universes.market(99, bars=BARS)
    mixed = {
        name: np.vstack([getattr(bars, name)[: CUT + 1], getattr(other, name)[CUT + 1 :]])
        for name in ("open", "high", "low", "close", "volume")
    }
    extra = {
        name: np.vstack([values[: CUT + 1], other.extra[name][CUT + 1 :]])
        for name, values in bars.extra.items()
    }
    # A split before the cut that is published after it, and one after it.
    later = [action(bars, CUT - 20, 40, 3.0), action(bars, CUT + 10, -1, 4.0)]
    after = features_of(replace(bars, **mixed, extra=extra), [*early, *later], chosen)
    one, two = before.values[: CUT + 1], after.values[: CUT + 1]
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    seen = [name for place, name in enumerate(chosen.names) if not same[:, :, place].all()]
    assert seen == []
    # The test would see nothing if what was changed changed nothing.
    assert (before.values[CUT + 25 :] != after.values[CUT + 25 :]).any(axis=(0, 1)).mean() > 0.8


def test_nothing_published_later_is_seen() -> None:
    """A sample of the catalogue sees no later bar or corporate action."""
    bars = universes.market(bars=BARS)
    assert_nothing_later_is_seen(sampled(bars), bars)


@pytest.mark.long
def test_nothing_published_later_is_seen_by_any_indicator() -> None:
    """No feature of the whole catalogue sees a later bar or corporate action."""
    bars = universes.market(bars=BARS)
    assert_nothing_later_is_seen(whole(bars), bars)


def test_the_online_store_says_what_batch_and_stream_say(tmp_path: Path) -> None:
    """A sample of the catalogue, on bars with gaps, comes back from the online store as it was computed."""
    bars = universes.with_gaps()
    report = parity.measure_parity(tmp_path, bars, sampled(bars), 12)
    assert report.broken == ()


@pytest.mark.long
@pytest.mark.parametrize("universe", [name for name in universes.UNIVERSES if name != "one bar"])
def test_the_online_store_agrees_on_the_whole_catalogue(tmp_path: Path, universe: str) -> None:
    """All of it, on every kind of bars: to the last bit where that is promised, to float32's elsewhere."""
    bars = universes.UNIVERSES[universe]()
    report = parity.measure_parity(tmp_path, bars, whole(bars), min(40, len(bars) - 1))
    assert report.broken == ()
