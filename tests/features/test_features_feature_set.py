"""Feature sets: names, formulas and indicators of one's own, from settings or a notebook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import DataError, InputError
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from features import notebook
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.engine.chunk_plan import plan_chunks
from features.engine.indicator import indicator
from features.engine.operator import Matrix, Operator
from features.engine.operators.window import Window
from features.feature_set import FeatureSet, default_feature_set, feature_set_of
from features.store import bulk, offline_files

OWN_FILE = '''
from features.engine.indicator import indicator
from features.engine.operators.window import Window

@indicator(inputs=("close",), group="own")
def range_share(length: int = 10):
    """Where the close stands in its range."""
    return Window(lambda x: (x[..., -1] - x.min(-1)) / (x.max(-1) - x.min(-1)), length, exact=True)
'''

MIXED = (
    "rsi(14)",
    "trend = close / sma(50) - 1",
    "macd.macdhist",
    "spread = rank(rsi(14)) - rank(rsi(28))",
    "smooth = sma(rank(close / sma(20)), 5)",
    "deep = rank(sma(rank(return_5), 3))",
    "week = rsi(5) @ 1w",
    "average_correlation(20)",
    "universe_beta(20)",
)


@indicator(inputs=("close",), group="own")
def last_over_first(length: int = 5) -> Operator:
    """The last close over the first of a window."""
    return Window(_last_over_first, length, exact=True)


def _last_over_first(window: Matrix) -> Matrix:
    return window[..., -1] / window[..., 0]


def test_formulas_indicators_and_names_stand_side_by_side(real_bars: BarPanel) -> None:
    """A set of names, formulas, further formulas and one decorated function streams into its batch."""
    chosen = FeatureSet(
        ("return_5", "edge", "last_over_first(3)", "data_free = last_over_first - 1"),
        formulas={"edge": "rsi(14) - half", "half": "sma(rsi(14), 10)"},
        indicators=[last_over_first],
    )
    assert chosen.names == ("return_5", "edge", "last_over_first_3", "data_free")
    whole = backfill(real_bars, chosen).values
    stream = FeatureStream(chosen, real_bars.symbols, real_bars.between(end=real_bars.at(99).timestamp))
    for row in range(100, 140):
        np.testing.assert_array_equal(stream.update(real_bars.at(row)), whole[row])
    close = real_bars.close
    np.testing.assert_allclose(whole[10, :, 2], close[10] / close[8], rtol=1e-6)


def test_what_is_there_already_cannot_be_defined_again() -> None:
    """A formula or indicator of one's own may not take the name of another, so that a name says one thing."""
    with pytest.raises(InputError, match="'rsi' is a feature already"):
        FeatureSet(("return_5",), formulas={"rsi": "close / 2"})
    with pytest.raises(InputError, match="'return_5' is a feature already"):
        FeatureSet(("return_5",), formulas={"return_5": "close / 2"})


def test_the_settings_choose_the_set(tmp_path: Path, real_bars: BarPanel) -> None:
    """Without a word the named features; else those listed, with formulas and files of one's own."""
    assert feature_set_of(Settings()) is default_feature_set()
    own = tmp_path / "own.py"
    own.write_text(OWN_FILE)
    chosen = feature_set_of(
        Settings(
            features=FeatureSettings(
                set=("range_share", "edge"), formulas={"edge": "rsi(14) - 50"}, files=(own,)
            )
        )
    )
    assert chosen.names == ("range_share", "edge")
    assert np.isfinite(backfill(real_bars, chosen).values[chosen.lookback - 1 :]).all()
    with pytest.raises(InputError, match=r"nothing\.py, which is no Python file"):
        feature_set_of(Settings(features=FeatureSettings(files=(tmp_path / "nothing.py",))))
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(InputError, match="defines no indicator"):
        feature_set_of(Settings(features=FeatureSettings(files=(empty,))))


def test_a_missing_column_is_named_with_the_feature_that_needs_it(real_bars: BarPanel) -> None:
    """Bars without volume, or without a further column, are refused at once by name."""
    with pytest.raises(DataError, match="'busy' needs 'volume'"):
        backfill(real_bars, FeatureSet(("busy = volume / sma(volume, 20)",)))
    with pytest.raises(DataError, match="'mood' needs the column 'sentiment'"):
        backfill(real_bars, FeatureSet(("mood = data.sentiment * 2",)))
    seen = replace(real_bars, extra={"sentiment": real_bars.close})
    values = backfill(seen, FeatureSet(("mood = data.sentiment * 2",))).values[..., 0]
    np.testing.assert_array_equal(values, (real_bars.close * 2).astype(np.float32))


def test_what_several_features_need_is_computed_once() -> None:
    """Two formulas over the same indicator share its node, whatever they are called."""
    one = FeatureSet(("a = rsi(14) + 1", "b = rsi(close, 14) + 2", "rsi(timeperiod=14)"))
    assert sum(node.definition.get("indicator") == "rsi" for node in one.graph.nodes) == 1


@pytest.mark.parametrize("at_once", [1, 700, 10**9])
def test_bulk_gives_what_the_backfill_gives(
    tmp_path: Path, simulated_bars: BarPanel, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """However small the chunks, the file holds the features of the backfill to the last bit."""
    monkeypatch.setattr(bulk, "CHUNK_VALUES", at_once)
    chosen = FeatureSet(MIXED)
    bars = simulated_bars.between(end=simulated_bars.at(159).timestamp).select(simulated_bars.symbols[:7])
    reads: list[int] = []

    def read(symbols: tuple[str, ...]) -> BarPanel:
        reads.append(len(symbols))
        return bars.select(symbols)

    built = bulk.build_in_chunks(read, bars.symbols, bars.timestamps, chosen, tmp_path / "features.parquet")
    assert built.rows == len(bars) * len(bars.symbols)
    if at_once == 1:
        assert max(reads) == 1
    order = [("timestamp", "ascending"), ("symbol", "ascending")]
    stored = pq.read_table(built.path).sort_by(order)
    expected = offline_files.to_feature_table(backfill(bars, chosen)).sort_by(order)
    assert stored.equals(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


def test_a_bulk_file_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, simulated_bars: BarPanel
) -> None:
    """Where the file cannot take its place, the error names it and no half of it is left."""
    (tmp_path / "features.parquet").mkdir()
    bars, chosen = simulated_bars.select(simulated_bars.symbols[:2]), FeatureSet(("return_1",))
    with pytest.raises(InputError, match=r"features\.parquet cannot be written"):
        bulk.build_in_chunks(
            bars.select, bars.symbols, bars.timestamps, chosen, tmp_path / "features.parquet"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


def test_stages_alternate_between_one_symbol_and_the_universe() -> None:
    """A rank of a mean of a rank needs five stages, which take turns at what may be cut."""
    stages = plan_chunks(
        [one.column for one in FeatureSet(("deep = rank(sma(rank(return_5), 3))",)).features]
    )
    assert [stage.axis for stage in stages] == ["symbols", "bars", "symbols", "bars"]


def test_three_lines_in_a_notebook() -> None:
    """Bars of a source and a data frame of features by timestamp and symbol."""
    prices = notebook.bars("sp500-20", "AAPL", "KO", start="2018-01-01", end="2018-12-31")
    table = notebook.features(prices, "rsi(14)", "trend = close / sma(50) - 1")
    assert list(table.columns) == ["rsi_14", "trend"]
    assert table.index.names == ["timestamp", "symbol"]
    assert table.loc[(table.index[-1][0], "KO")].notna().all()
    assert len(notebook.features(prices).columns) == len(default_feature_set())
