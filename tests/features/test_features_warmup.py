"""Warm-up: no feature is shown before it has forgotten where history begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import InputError
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from features import catalogue
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.engine.warmup import TOLERANCE, warmup_bars
from features.feature_set import FeatureSet, default_feature_set, feature_set_of
from features.store import bulk

BARS, LATE = 900, 300


def market(seed: int = 3, bars: int = BARS, symbols: int = 3) -> BarPanel:
    """A random walk in which the last symbol begins at bar `LATE`."""
    generator = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(generator.normal(0, 0.015, (bars, symbols)), axis=0))
    opened = close * np.exp(generator.normal(0, 0.004, close.shape))
    high = np.maximum(opened, close) * 1.004
    low = np.minimum(opened, close) / 1.004
    volume = np.exp(generator.normal(12, 0.5, close.shape))
    for values in (opened, high, low, close, volume):
        values[:LATE, -1] = np.nan
    times = np.datetime64("2015-01-01T21:00", "ns") + np.arange(bars) * np.timedelta64(1, "D")
    names = tuple(f"S{index}" for index in range(symbols))
    return BarPanel(times, names, opened, high, low, close, volume, np.ones_like(close))


def column(text: str):
    return FeatureSet([f"x = {text}"], cumulative=True).features[0].column


def values_of(features: FeatureSet, bars: BarPanel) -> np.ndarray:
    return backfill(bars, features).values


def between(bars: BarPanel, first: int, end: int) -> BarPanel:
    return BarPanel.from_slices([bars.at(index) for index in range(first, end)])


def from_bar(bars: BarPanel, first: int) -> BarPanel:
    return between(bars, first, len(bars))


@pytest.mark.parametrize(("text", "bars"), [("sma(50)", 50), ("lag(rocp(231), 21)", 253), ("max(20)", 20)])
def test_a_window_has_settled_with_its_first_value(text: str, bars: int) -> None:
    """A feature without a memory beyond its window needs its lookback and no bar more."""
    assert warmup_bars(column(text)) == bars == column(text).lookback


@pytest.mark.parametrize("length", [20, 100])
def test_an_exponential_average_settles_as_its_weights_do(length: int) -> None:
    """Of an average of returns about a hundredth of the beginning's weight is left after the warm-up."""
    bars = warmup_bars(column(f"ema(rocp(1), {length})"))
    assert bars is not None
    assert 1e-3 < (1 - 2 / (length + 1)) ** (bars - length - 1) < 5e-2


@pytest.mark.parametrize("text", ["rsi(14)", "macd(12, 26, 9).macdhist", "kama(10)", "adx(14)", "atr(14)"])
def test_after_the_warmup_it_matters_little_where_history_begins(text: str) -> None:
    """On bars that the measure never saw, a short history gives a long one's values by then."""
    features, bars = FeatureSet([f"x = {text}"]), market()
    whole, cut = values_of(features, bars)[200:, 0, 0], values_of(features, from_bar(bars, 200))[:, 0, 0]
    shown = np.isfinite(cut)
    assert shown.sum() == len(cut) - warmup_bars(features.features[0].column) + 1
    assert np.abs(cut[shown] - whole[shown]).max() < 5 * TOLERANCE * np.nanstd(whole)


def test_values_before_the_warmup_are_not_shown() -> None:
    """Backfill gives NaN for each symbol until it has as many bars as the feature's warm-up says."""
    features = FeatureSet(["rsi(14)", "sma(5)"])
    first = np.isfinite(values_of(features, market())).argmax(axis=0)
    settled = warmup_bars(features.features[0].column)
    assert first[:, 0].tolist() == [settled - 1, settled - 1, LATE + settled - 1]
    assert first[:, 1].tolist() == [4, 4, LATE + 4]


def test_without_warmup_the_first_value_is_shown() -> None:
    """`features.warmup = false` shows each value from the lookback on."""
    settings = Settings(features=FeatureSettings(set=("rsi(14)",), warmup=False))
    first = np.isfinite(values_of(feature_set_of(settings), market())).argmax(axis=0)
    assert first[0, 0] == 14


def test_the_settings_mask_by_default() -> None:
    """The feature set of untouched settings waits for the warm-up of each feature."""
    chosen = feature_set_of(Settings(features=FeatureSettings(set=("rsi(14)",))))
    assert chosen.lookback == warmup_bars(chosen.features[0].column) > 15
    assert feature_set_of(Settings()).hash == default_feature_set().hash


def test_the_stream_masks_what_the_backfill_masks() -> None:
    """A stream opened before the warm-up shows its first value at the bar at which the backfill does."""
    features, bars = FeatureSet(["rsi(14)", "rank(rsi(14))", "rsi(5) @ 1w"]), market(bars=600)
    whole = values_of(features, bars)
    stream = FeatureStream(features, bars.symbols, between(bars, 0, 320))
    rows = np.stack([stream.update(bars.at(index)) for index in range(320, len(bars))])
    np.testing.assert_array_equal(rows, whole[320:])
    assert np.isnan(rows[0, 2]).all() and np.isfinite(rows[-1]).all()


def test_chunks_mask_what_the_backfill_masks(tmp_path: Path) -> None:
    """A backfill in chunks shows the same values as one in memory, and hides the same."""
    import pyarrow.parquet as pq

    features, bars = FeatureSet(["rsi(14)", "rank(rsi(14))"]), market()
    bulk.build_in_chunks(bars.select, bars.symbols, bars.timestamps, features, tmp_path / "features.parquet")
    table = pq.read_table(tmp_path / "features.parquet").sort_by(
        [("timestamp", "ascending"), ("symbol", "ascending")]
    )
    found = np.column_stack([table[name].to_numpy(zero_copy_only=False) for name in features.names])
    np.testing.assert_array_equal(found.reshape(values_of(features, bars).shape), values_of(features, bars))


def test_a_symbol_is_ranked_once_it_has_settled() -> None:
    """The first values of a new symbol do not disturb the ranks of the others."""
    features = FeatureSet(["rank(rsi(14))"])
    ranks = values_of(features, market())[:, :, 0]
    settled = LATE + warmup_bars(column("rsi(14)")) - 1
    assert set(np.unique(ranks[settled - 1, :2])) == {-1.0, 1.0}
    assert np.isnan(ranks[settled - 1, 2]) and np.isfinite(ranks[settled, 2])


@pytest.mark.parametrize("name", ["obv", "ad", "pvt", "nvi", "vwap", "cumsum", "wad"])
def test_what_adds_up_since_the_first_bar_is_refused(name: str) -> None:
    """A cumulative output is marked as never settling, and refused in a set with the ways out."""
    assert warmup_bars(catalogue.build_indicator(name).output()) is None
    with pytest.raises(InputError, match=rf"'{name}' depends on .*difference\({name}, 20"):
        FeatureSet([name])


@pytest.mark.parametrize("text", ["rank(obv)", "obv @ 1w", "zscore(ad) + 1"])
def test_what_is_made_of_a_cumulative_output_is_refused(text: str) -> None:
    """A formula inherits that its parts depend on where history begins."""
    with pytest.raises(InputError, match=r"feature 'x' depends on where history begins: '(obv|ad)' adds up"):
        FeatureSet([f"x = {text}"])


@pytest.mark.parametrize(
    "text", ["difference(obv, 20)", "obv - sma(obv, 20)", 'since_period(obv, "month")', "rocp(20)"]
)
def test_a_cumulative_output_is_taken_where_its_beginning_cancels(text: str) -> None:
    """Changes of a cumulative output, and what begins anew with each month, are features."""
    features, bars = FeatureSet([f"x = {text}"]), market()
    whole, cut = values_of(features, bars)[200:, 0, 0], values_of(features, from_bar(bars, 200))[:, 0, 0]
    shown = np.isfinite(cut)
    assert shown.sum() > 600
    np.testing.assert_allclose(cut[shown], whole[shown], rtol=1e-5, atol=1e-3 * np.nanstd(whole))


def test_since_period_adds_up_within_the_month() -> None:
    """On the last day of a month it is the sum of that month's changes, and none before the second month."""
    bars = market(bars=120).select(("S0",))
    values = values_of(FeatureSet(['x = since_period(close, "month")']), bars)[:, 0, 0]
    close = bars.close[:, 0]
    months = bars.timestamps.astype("datetime64[M]")
    february = np.flatnonzero(months == np.datetime64("2015-02"))
    assert np.isnan(values[: february[0]]).all()
    assert values[february[-1]] == pytest.approx(close[february[-1]] - close[february[0] - 1], rel=1e-6)


@pytest.mark.parametrize("first", [0, 57, 200])
def test_the_index_of_an_extreme_is_its_age(first: int) -> None:
    """Maxindex counts the bars since the highest close of its window, wherever history begins."""
    bars = from_bar(market(), first)
    values = values_of(FeatureSet(["maxindex(30)", "minindex(30)"]), bars)[:, 0]
    windows = np.lib.stride_tricks.sliding_window_view(bars.close[:, 0], 30)
    np.testing.assert_array_equal(values[29:, 0], 29 - windows.argmax(axis=1))
    np.testing.assert_array_equal(values[29:, 1], 29 - windows.argmin(axis=1))
    assert np.isnan(values[:29]).all()


@pytest.mark.parametrize("history", [10, 29, 30, 31, 500])
def test_ages_are_the_same_in_a_stream(history: int) -> None:
    """Streams opened before and after the first value give the ages that the backfill gives."""
    features = FeatureSet(["maxindex(30)", "a = minmaxindex(30).minidx", "b = minmaxindex(30).maxidx"])
    bars = market(bars=600)
    stream = FeatureStream(features, bars.symbols, between(bars, 0, history))
    rows = np.stack([stream.update(bars.at(index)) for index in range(history, len(bars))])
    np.testing.assert_array_equal(rows, values_of(features, bars)[history:])


def test_a_model_of_a_cumulative_feature_is_still_answered() -> None:
    """The set that a card of before defines may hold a cumulative output: it is computed as it was."""
    before = FeatureSet(["obv", "return_1"], cumulative=True)
    after = default_feature_set().having(before.definition["set"], before.definition["formulas"])
    bars = market()
    assert after.hash == before.hash == FeatureSet(["obv", "return_1"], warmup=False).hash
    assert np.isfinite(values_of(after, bars)[0, 0, 0])
