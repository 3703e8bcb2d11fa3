"""The online store says over whom ranks were computed: a model of another universe can refuse them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.forecasts import SymbolStatus
from alphaloop.universe_hash import hash_universe
from features.feature_set import FeatureSet
from features.store.feast.connection import feast_definitions, open_feast
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer

RANKED = FeatureSet(["return_1", "rank(return_5)"])
PLAIN = FeatureSet(["return_1", "return_5"])
OK, MISSING = SymbolStatus.OK, SymbolStatus.MISSING


def materialized(
    folder: Path, bars: BarPanel, chosen: FeatureSet, symbols: tuple[str, ...], clock: ReplayClock
) -> OnlineReader:
    """A reader of a store that holds the last of `bars`."""
    with Streamer(folder, chosen, symbols, bars, 2, clock, replace=True) as streamer:
        streamer.materialize()
    return OnlineReader(folder)


@pytest.fixture
def past(real_bars: BarPanel) -> BarPanel:
    """The first forty of the real bars."""
    return real_bars.between(end=real_bars.at(39).timestamp)


def test_a_store_of_ranks_names_the_universe_they_are_of(
    tmp_path: Path, past: BarPanel, clock: ReplayClock
) -> None:
    """The mark is the hash of the streamer's symbols, whatever their order and whoever is asked for."""
    last = past.at(len(past) - 1).timestamp
    turned = past.symbols[::-1]
    reader = materialized(tmp_path, past, RANKED, turned, clock)
    assert reader.read(past.symbols, last, 2).universe == hash_universe(past.symbols)
    assert reader.read(past.symbols[:1], last, 1).universe == hash_universe(turned)
    assert hash_universe(past.symbols[1:]) != hash_universe(past.symbols)


def test_a_store_without_ranks_names_no_universe(tmp_path: Path, past: BarPanel, clock: ReplayClock) -> None:
    """Features that look at one symbol are the same in any universe, so the mark is empty."""
    last = past.at(len(past) - 1).timestamp
    materialized(tmp_path, past, RANKED, past.symbols, clock)
    assert materialized(tmp_path, past, PLAIN, past.symbols, clock).read(past.symbols, last, 2).universe == ""


def test_a_delisted_symbol_is_of_the_universe_still(
    tmp_path: Path, real_bars: BarPanel, past: BarPanel, clock: ReplayClock
) -> None:
    """Where a symbol has no bar any more it is masked, and the mark stays what it was."""
    bars = real_bars.at(len(past))
    gone = replace(bars, **{name: _without_first(getattr(bars, name)) for name in ("close", "adjustment")})
    with Streamer(tmp_path, RANKED, past.symbols, past, 2, clock) as streamer:
        streamer.publish(gone, "s")
    windows = OnlineReader(tmp_path).read(past.symbols, bars.timestamp, 1)
    assert windows.statuses == (MISSING,) + (OK,) * (len(past.symbols) - 1)
    assert windows.universe == hash_universe(past.symbols)


def _without_first(values: Any) -> Any:
    return np.where(np.arange(len(values)) == 0, np.nan, values)


def test_windows_of_one_bar_that_were_ranked_apart_are_not_mixed(
    tmp_path: Path, past: BarPanel, clock: ReplayClock
) -> None:
    """A symbol that stands at the bar by an earlier universe is masked beside those of the present one."""
    last = past.at(len(past) - 1).timestamp
    materialized(tmp_path, past, RANKED, past.symbols, clock)
    reader = materialized(tmp_path, past, RANKED, past.symbols[:4], clock)
    windows = reader.read(past.symbols, last, 1)
    assert windows.statuses == (OK,) * 4 + (MISSING,) * (len(past.symbols) - 4)
    assert windows.universe == hash_universe(past.symbols[:4])


def test_a_store_that_the_release_before_defined_is_read(
    tmp_path: Path, past: BarPanel, clock: ReplayClock
) -> None:
    """Where Feast was never told of the mark, windows are read as ever, and of no known universe."""
    last = past.at(len(past) - 1).timestamp
    reader = materialized(tmp_path, past, RANKED, past.symbols, clock)
    expected = reader.read(past.symbols, last, 2)
    view = feast_definitions().online_view(str(tmp_path / "windows.parquet"))
    view.features = [field for field in view.features if field.name != "universe"]
    open_feast(tmp_path).apply([feast_definitions().symbol_entity(), view])
    windows = OnlineReader(tmp_path).read(past.symbols, last, 2)
    assert (windows.universe, windows.feature_set) == ("", RANKED.hash)
    np.testing.assert_array_equal(windows.panel, expected.panel)
