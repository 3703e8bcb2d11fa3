"""Features of a universe whose members change: none outside it, and ranks among members alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.universe_mask import MEMBER_COLUMN, outside_universe
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.feature_set import FeatureSet
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer
from models.dataset import make_dataset

JOINS, LEAVES = 200, 320
FEATURES = FeatureSet(("return_5", "rsi(14)", "rank(return_5)", "lag(rank(return_5), 2)", "zscore(rsi(14))"))


@pytest.fixture
def bars(real_bars: BarPanel) -> BarPanel:
    """The first symbol leaves on bar 320, the second joins on bar 200; the others are always members."""
    member = np.ones(real_bars.close.shape)
    member[LEAVES:, 0] = 0.0
    member[:JOINS, 1] = 0.0
    return replace(real_bars, extra={MEMBER_COLUMN: member})


def test_a_symbol_outside_the_universe_has_no_features(bars: BarPanel) -> None:
    """Before it joins and after it left all values are NaN; its own features then need no new warm-up."""
    frame, always = backfill(bars, FEATURES), backfill(replace(bars, extra={}), FEATURES)
    outside = outside_universe(bars)
    assert outside is not None
    assert np.isnan(frame.values[outside]).all()
    own = [FEATURES.names.index(name) for name in ("return_5", "rsi_14")]
    np.testing.assert_array_equal(frame.values[~outside][:, own], always.values[~outside][:, own])
    assert np.isfinite(frame.values[JOINS, 1, own]).all()


def test_members_are_ranked_among_members(bars: BarPanel) -> None:
    """While one symbol is outside, ranks of the others are those of a market without it."""
    frame = backfill(bars, FEATURES)
    others = backfill(replace(bars, extra={}).select(bars.symbols[1:]), FEATURES)
    ranks = [FEATURES.names.index(name) for name in FEATURES.names if "rank" in name or "zscore" in name]
    np.testing.assert_array_equal(
        frame.values[LEAVES + 2 :, 1:][..., ranks], others.values[LEAVES + 2 :][..., ranks]
    )
    assert not np.array_equal(frame.values[LEAVES - 5, 1:][..., ranks], others.values[LEAVES - 5][..., ranks])


def test_a_stream_gives_the_features_of_backfill(bars: BarPanel) -> None:
    """Over a bar of joining and one of leaving, stream and backfill agree bit for bit."""
    frame = backfill(bars, FEATURES)
    stream = FeatureStream(FEATURES, bars.symbols, bars.part(0, JOINS - 5))
    for index in range(JOINS - 5, LEAVES + 5):
        np.testing.assert_array_equal(stream.update(bars.at(index)), frame.values[index])


def test_the_online_store_masks_who_is_no_member(bars: BarPanel, tmp_path: Path) -> None:
    """A symbol that left has no window to be scored on, and comes back as missing; members are complete."""
    clock = ReplayClock(bars.at(LEAVES - 1).timestamp)
    with Streamer(tmp_path, FEATURES, bars.symbols, bars.part(0, LEAVES), 1, clock) as streamer:
        streamer.publish(bars.at(LEAVES), "s")
        read = OnlineReader(tmp_path).read(bars.symbols, bars.at(LEAVES).timestamp, 1)
    assert [one.value for one in read.statuses] == ["missing", *["ok"] * (len(bars.symbols) - 1)]


def test_labels_of_symbols_outside_the_universe_are_not_learned_from(bars: BarPanel) -> None:
    """A dataset has no label, and so no sample, of a symbol outside the universe."""
    frame = backfill(bars, FEATURES)
    dataset = make_dataset(frame, bars.adjusted_close, 5)
    outside = outside_universe(bars)
    assert outside is not None
    assert np.isnan(dataset.labels[outside]).all()
    _, _, rows, symbols = dataset.samples(1)
    assert not outside[rows, symbols].any()
