"""Sources: the embedded ones, and how another is added."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import marketdata.sources
import marketdata.sources.sp500_20 as sp500
from alphaloop.allocation import rank_scores
from alphaloop.bars import BARS_SCHEMA, BarPanel
from alphaloop.errors import DataError, InputError, MissingPartError, PluginError, UnknownNameError
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from marketdata.sources import registry
from marketdata.sources.simulated import SimulatedSource

NEW_SOURCE = """
from marketdata.sources.simulated import SimulatedSource

class Tiny(SimulatedSource):
    pass

SOURCE = Tiny(seed=3, name="{name}")
"""


@pytest.fixture
def other_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules count as sources for the length of a test."""
    monkeypatch.setattr(marketdata.sources, "__path__", [*marketdata.sources.__path__, str(tmp_path)])
    return tmp_path


def test_one_file_adds_a_source(other_folder: Path) -> None:
    """A module that defines `SOURCE`, dropped in beside the others, is found by its name."""
    (other_folder / "tiny_venue.py").write_text(NEW_SOURCE.format(name="tiny"))
    assert {"simulated", "sp500-20", "tiny"} <= set(registry.source_names())
    assert registry.find_source("tiny").history(("SIM03",)).schema == BARS_SCHEMA


def test_two_sources_of_one_name_are_refused(other_folder: Path) -> None:
    """A second source called `simulated` is an error, not a coin toss."""
    (other_folder / "twin_venue.py").write_text(NEW_SOURCE.format(name="simulated"))
    with pytest.raises(PluginError, match="simulated"):
        registry.source_names()


def test_unknown_names_are_answered_with_those_there_are() -> None:
    """An unknown source, symbol or frequency is named together with what is known."""
    with pytest.raises(UnknownNameError, match=r"'nasdaq'.*sp500-20"):
        registry.find_source("nasdaq")
    source = registry.find_source("sp500-20")
    with pytest.raises(UnknownNameError, match=r"unknown symbol 'APPL' in source 'sp500-20'; known: AAPL"):
        source.history(("APPL",))
    with pytest.raises(DataError, match=r"'1h'.*1d"):
        source.history((), frequency="1h")


def test_the_real_bars_are_what_they_say() -> None:
    """20 symbols from 2000 on, closes only, stamped with the session's close in UTC, half days included."""
    source = registry.find_source("sp500-20")
    table = source.history(())
    bars = BarPanel.from_table(table)
    assert (table.schema, len(source.symbols()), source.adjusted_only) == (BARS_SCHEMA, 20, True)
    assert bars.at(0).timestamp == datetime(2000, 1, 3, 21, tzinfo=UTC)
    closes = {str(moment)[:13] for moment in bars.timestamps}
    assert {"2019-07-03T17", "2019-07-05T20", "2019-01-02T21"} <= closes
    assert np.isfinite(bars.close).all()
    assert table["open"].null_count == len(table)


def test_the_cut_of_history_includes_both_ends() -> None:
    """`start` and `end` are part of what is given."""
    first = datetime(2019, 1, 2, 21, tzinfo=UTC)
    last = datetime(2019, 1, 4, 21, tzinfo=UTC)
    table = registry.find_source("sp500-20").history(("KO",), first, last)
    assert [moment.day for moment in table["timestamp"].to_pylist()] == [2, 3, 4]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that carries the data the error says what to install."""
    monkeypatch.setattr(sp500, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPartError, match="no-such-package"):
        registry.find_source("sp500-20").symbols()
    monkeypatch.setattr(sp500, "PACKAGE", "numpy")
    with pytest.raises(MissingPartError, match="has no file"):
        registry.find_source("sp500-20").symbols()


def test_simulated_bars_repeat_and_say_what_they_are() -> None:
    """The same seed gives the same bars, another seed others; description and flag say simulated."""
    one, same, other = (SimulatedSource(seed).history(("SIM00",)) for seed in (7, 7, 8))
    assert one.equals(same)
    assert not one.equals(other)
    source = registry.find_source("simulated")
    assert "SIMULATED" in source.description
    assert source.adjusted_only
    with pytest.raises(InputError, match="strength"):
        SimulatedSource(strength=1.5)


def test_simulated_bars_look_like_a_market() -> None:
    """About 2 % daily volatility, positively correlated symbols, and volatility that clusters."""
    close = BarPanel.from_table(SimulatedSource().history()).close
    returns = np.diff(np.log(close), axis=0)
    correlation = np.corrcoef(returns.T)[np.triu_indices(20, 1)]
    assert 0.015 < returns.std() < 0.025
    assert 0.15 < correlation.mean() < 0.6
    market = np.abs(returns.mean(axis=1))
    assert np.corrcoef(market[:-1], market[1:])[0, 1] > 0.05


def test_the_planted_signal_is_there_and_momentum_is_not() -> None:
    """Reversal ranks the next five obtainable bars well, momentum does not, and strength 0 plants nothing."""
    chosen = FeatureSet(("rank_return_21", "rank_momentum_252_21"))
    reversal, momentum = information_coefficients(SimulatedSource(), chosen)
    assert -0.22 < reversal < -0.10
    assert abs(momentum) < 0.04
    unplanted, _ = information_coefficients(SimulatedSource(strength=0.0), chosen)
    assert abs(unplanted) < 0.04


def information_coefficients(source: SimulatedSource, chosen: FeatureSet) -> list[float]:
    """Mean rank correlation of each feature with the return from the next close over five bars."""
    bars = BarPanel.from_table(source.history())
    frame, horizon = backfill(bars, chosen), 5
    label = bars.close[1 + horizon :] / bars.close[1:-horizon] - 1
    values = frame.values[: len(label)]
    return [
        float(
            np.mean(
                [
                    np.mean(rank_scores(values[t, :, f]) * rank_scores(label[t]))
                    for t in range(252, len(label))
                ]
            )
        )
        for f in range(len(chosen))
    ]
