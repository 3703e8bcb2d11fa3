"""One definition: series, stream and online store give the same bits, and none sees the future."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.bars import BarPanel
from alphaloop.errors import DataError, InputError, UnknownNameError
from alphaloop.statistics.ranks import centred_rank
from features import parity
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.engine.cross_section import share_positive, universe_median
from features.feature_set import DEFAULT, FeatureSet
from marketdata.source import close_only_panel

WithCloses = Callable[[BarPanel, np.ndarray], BarPanel]


def head(bars: BarPanel, count: int) -> BarPanel:
    """The first `count` bars; none if that is 0."""
    if count:
        return bars.between(end=bars.at(count - 1).timestamp)
    return bars.between(end=bars.at(0).timestamp - timedelta(days=1))


def streamed(bars: BarPanel, history: int, feature_set: FeatureSet = DEFAULT) -> np.ndarray:
    """Features of the bars after the first `history`, one by one, float32 `[T, N, F]`."""
    stream = FeatureStream(feature_set, bars.symbols, head(bars, history))
    return np.stack([stream.update(bars.at(index)) for index in range(history, len(bars))])


def assert_same_bits(one: np.ndarray, other: np.ndarray) -> None:
    """Equal values in the same places; NaN equals NaN."""
    assert one.dtype == other.dtype == np.float32
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("history", [0, 1, 40, 300])
def test_the_stream_repeats_the_batch_to_the_last_bit(
    real_bars: BarPanel, simulated_bars: BarPanel, history: int
) -> None:
    """From any length of history on, real or simulated bars stream into exactly the backfilled features."""
    for bars in (real_bars, simulated_bars):
        assert_same_bits(streamed(bars, history), backfill(bars, DEFAULT).values[history:])


@pytest.mark.parametrize("cut", [0, 30, 260, 400])
def test_no_feature_sees_a_later_bar(real_bars: BarPanel, with_closes: WithCloses, cut: int) -> None:
    """Whatever happens to the bars after t, every feature at or before t keeps its bits."""
    close = real_bars.close.copy()
    close[cut + 1 :] *= np.random.default_rng(5).uniform(0.2, 5.0, close[cut + 1 :].shape)
    before, after = (backfill(bars, DEFAULT) for bars in (real_bars, with_closes(real_bars, close)))
    assert_same_bits(before.values[: cut + 1], after.values[: cut + 1])
    if cut >= 252:
        # The test would see nothing if the features did not react at all.
        changed = before.values[cut + 1 :] != after.values[cut + 1 :]
        assert changed.any(axis=(0, 1)).all()


def test_cutting_the_future_off_changes_nothing(real_bars: BarPanel) -> None:
    """Features of the first bars are the same whether or not later bars exist."""
    whole = backfill(real_bars, DEFAULT).values
    for count in (60, 253, 300):
        assert_same_bits(backfill(head(real_bars, count), DEFAULT).values, whole[:count])


def test_bars_that_a_symbol_lacks_leave_the_others_alone(
    real_bars: BarPanel, with_closes: WithCloses
) -> None:
    """Where a symbol has no bar it has no features, batch and stream agree, and it recovers at once."""
    close = real_bars.close.copy()
    close[:20, 1] = np.nan
    close[350:353, 2] = np.nan
    close[400, :] = np.nan
    bars = with_closes(real_bars, close)
    values = backfill(bars, DEFAULT).values
    for history in (0, 10, 351, 420):
        assert_same_bits(streamed(bars, history), values[history:])
    assert np.isnan(values[351, 2]).all()
    assert np.isfinite(values[351, [0, 1, 3]]).all()
    assert np.isfinite(values[353]).all()
    assert np.isnan(values[400]).all()


def test_flat_prices_give_finite_features(real_bars: BarPanel, with_closes: WithCloses) -> None:
    """A symbol whose price never moves has finite features, the same in stream and batch."""
    close = real_bars.close.copy()
    close[:, 0] = 25.0
    bars = with_closes(real_bars, close)
    values = backfill(bars, DEFAULT).values
    assert np.isfinite(values[253:, 0]).all()
    assert_same_bits(streamed(bars, 100), values[100:])


def test_features_know_no_scale_of_price(real_bars: BarPanel, with_closes: WithCloses) -> None:
    """Prices a thousand times as high give the same features, but for rounding."""
    scaled = backfill(with_closes(real_bars, real_bars.close * 1000), DEFAULT).values[252:]
    np.testing.assert_allclose(scaled, backfill(real_bars, DEFAULT).values[252:], rtol=1e-3, atol=1e-5)


def test_features_see_adjusted_prices(real_bars: BarPanel) -> None:
    """A split that the adjustment makes good leaves every feature where it was, but for rounding."""
    close, adjustment = real_bars.close.copy(), real_bars.adjustment.copy()
    close[300:, 3] /= 2
    adjustment[300:, 3] *= 2
    split = replace(real_bars, close=close, adjustment=adjustment)
    assert_same_bits(backfill(split, DEFAULT).values, backfill(real_bars, DEFAULT).values)
    assert_same_bits(streamed(split, 280), backfill(real_bars, DEFAULT).values[280:])


@pytest.mark.parametrize("name", DEFAULT.names)
def test_lookback_is_where_values_begin(real_bars: BarPanel, name: str) -> None:
    """A feature's first value stands at its warm-up, without one at its lookback; then it has all of them."""
    feature = dict(zip(DEFAULT.names, DEFAULT.features, strict=True))[name]
    for warmup, first in ((True, feature.warmup), (False, feature.lookback)):
        values = backfill(real_bars, FeatureSet((name,), warmup=warmup)).values[:, :, 0]
        assert first is not None and np.isnan(values[: first - 1]).all()
        assert np.isfinite(values[first - 1 :]).all()


def test_known_features_have_their_textbook_values(real_bars: BarPanel) -> None:
    """Returns, momentum, volatility, moving averages and extremes equal their formulas in numpy."""
    close, row = real_bars.close, 400
    frame = backfill(real_bars, DEFAULT)
    at = {name: frame.values[row, :, place] for place, name in enumerate(frame.names)}
    returns = close[1:] / close[:-1] - 1
    expected = {
        "return_5": close[row] / close[row - 5] - 1,
        "momentum_252_21": close[row - 21] / close[row - 252] - 1,
        "volatility_21": returns[row - 21 : row].std(axis=0),
        "distance_sma_50": close[row] / close[row - 49 : row + 1].mean(axis=0) - 1,
        "distance_high_252": close[row] / close[row - 251 : row + 1].max(axis=0) - 1,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(at[name], values, rtol=1e-4, atol=1e-7, err_msg=name)
    order = np.argsort(np.argsort(expected["return_5"]))
    np.testing.assert_allclose(at["rank_return_5"], order / 2.5 - 1, atol=1e-6)
    np.testing.assert_allclose(at["market_volatility_21"], np.median(expected["volatility_21"]), rtol=1e-4)
    above = np.mean(expected["distance_sma_50"] > 0) - 0.5
    np.testing.assert_allclose(at["market_breadth_50"], above, atol=1e-6)


cells = st.one_of(st.just(np.nan), st.floats(-3, 3).map(lambda value: round(value, 1)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_a_row_has_the_same_cross_section_alone_and_among_others(rows: list[list[float]]) -> None:
    """Each cross-sectional function looks at each row by itself, keeps NaN and knows no order of symbols."""
    values = np.array(rows)
    for function in (centred_rank, share_positive, universe_median):
        together = function(values)
        for row in range(len(values)):
            np.testing.assert_array_equal(function(values[row : row + 1])[0], together[row])
        np.testing.assert_array_equal(np.isnan(together), np.isnan(values))
        np.testing.assert_array_equal(function(values[:, ::-1])[:, ::-1], together)


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=12))
def test_ranks_are_centred_and_share_ties(row: list[float]) -> None:
    """Ranks lie in [-1, 1], sum to zero, grow with the values, and equal values share one."""
    values = np.array([row])
    ranks = centred_rank(values)[0]
    known = np.isfinite(values[0])
    assert np.abs(ranks[known]).max(initial=0) <= 1
    assert abs(ranks[known].sum()) < 1e-9
    for one in np.flatnonzero(known):
        for other in np.flatnonzero(known):
            assert np.sign(ranks[one] - ranks[other]) == np.sign(values[0, one] - values[0, other])


def test_the_three_ways_agree_on_real_bars(tmp_path: Path, real_bars: BarPanel) -> None:
    """Backfill, stream and Feast's online store give the same bits on real bars."""
    report = parity.measure_parity(tmp_path, real_bars, DEFAULT, 60)
    assert (report.max_abs_diff, report.identical) == (0.0, True)
    assert set(report.by_feature) == set(DEFAULT.names)
    assert (report.bars, report.symbols) == (60, len(real_bars.symbols))


def test_the_three_ways_agree_on_simulated_bars(tmp_path: Path, simulated_bars: BarPanel) -> None:
    """Backfill, stream and Feast's online store give the same bits on simulated bars, twice over."""
    for _ in range(2):
        assert parity.measure_parity(tmp_path, simulated_bars, DEFAULT, 40).identical


def test_parity_sees_a_difference(
    tmp_path: Path, real_bars: BarPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the stream differs by a bit in one feature, or lacks a value, parity says where and by how much."""
    genuine = FeatureStream.update

    def update(stream: FeatureStream, bars: object) -> np.ndarray:
        values = genuine(stream, bars).copy()  # type: ignore[arg-type]
        values[0, 3] += np.float32(0.5)
        values[1, 4] = np.nan
        return values

    monkeypatch.setattr(FeatureStream, "update", update)
    report = parity.measure_parity(tmp_path, real_bars, DEFAULT, 5)
    wrong = {name for name, difference in report.by_feature.items() if difference > 0}
    assert wrong == {DEFAULT.names[3], DEFAULT.names[4]}
    assert report.by_feature[DEFAULT.names[3]] == pytest.approx(0.5, abs=1e-6)
    assert report.max_abs_diff == np.inf


def test_parity_needs_history(tmp_path: Path, real_bars: BarPanel) -> None:
    """Asking for more bars than there are is refused."""
    for last in (0, len(real_bars)):
        with pytest.raises(DataError, match="give 1 to"):
            parity.measure_parity(tmp_path, real_bars, DEFAULT, last)


def test_a_feature_set_is_its_ordered_definitions() -> None:
    """The hash depends on names and their order; strange, repeated or no names are refused."""
    names = DEFAULT.names
    assert FeatureSet(names).hash == DEFAULT.hash
    assert FeatureSet(names[::-1]).hash != DEFAULT.hash
    assert FeatureSet(names[:5]).hash != DEFAULT.hash
    assert (len(DEFAULT), DEFAULT.lookback) == (24, 253)
    assert FeatureSet(names) == DEFAULT
    with pytest.raises(InputError, match="unknown name 'alpha_101'"):
        FeatureSet(("alpha_101",))
    for wrong in ((), (names[0], names[0])):
        with pytest.raises(InputError, match="each once"):
            FeatureSet(wrong)


def test_a_changed_parameter_changes_the_hash() -> None:
    """Two definitions that differ in a parameter, alone or under a cross-section, are not the same."""
    for one, other in (("x = rocp(5)", "x = rocp(6)"), ("x = rank(rocp(5))", "x = rank(rocp(6))")):
        assert FeatureSet((one,)).hash != FeatureSet((other,)).hash
    assert FeatureSet(("x = rsi(14)",)).hash == FeatureSet(("x = rsi( close, timeperiod=14 )",)).hash


def test_windows_of_a_frame(real_bars: BarPanel) -> None:
    """A window holds the rows up to its bar, padded with NaN before the first; other rows are refused."""
    frame = backfill(real_bars, DEFAULT)
    window = frame.window(400, 16)
    assert window.shape == (len(real_bars.symbols), 16, len(DEFAULT))
    assert_same_bits(window[:, -1], frame.values[400])
    assert_same_bits(window[2], frame.values[385:401, 2])
    early = frame.window(1, 4)
    assert np.isnan(early[:, :2]).all()
    assert_same_bits(early[:, 2:], frame.values[:2].transpose(1, 0, 2))
    for index, lookback in ((-1, 4), (len(frame), 4), (3, 0)):
        with pytest.raises(DataError, match="no window"):
            frame.window(index, lookback)


def test_bars_are_found_by_their_moment(real_bars: BarPanel) -> None:
    """`index_of` finds a bar's row; a moment without a bar is refused with what there is."""
    frame = backfill(real_bars, DEFAULT)
    assert frame.index_of(real_bars.at(17).timestamp) == 17
    for moment in (real_bars.at(17).timestamp + timedelta(hours=1), real_bars.at(0).timestamp - timedelta(1)):
        with pytest.raises(DataError, match="they cover 2018-01-02"):
            frame.index_of(moment)
    with pytest.raises(DataError, match="nothing"):
        backfill(head(real_bars, 0), DEFAULT).index_of(real_bars.at(0).timestamp)


def test_a_stream_takes_bars_in_order_and_once(real_bars: BarPanel) -> None:
    """A bar at or before the last is refused and leaves the stream as it was; a strange symbol is named."""
    stream = FeatureStream(DEFAULT, real_bars.symbols, head(real_bars, 300))
    assert stream.last == real_bars.at(299).timestamp
    for index in (299, 100):
        with pytest.raises(DataError, match="in order"):
            stream.update(real_bars.at(index))
    assert_same_bits(stream.update(real_bars.at(300)), backfill(real_bars, DEFAULT).values[300])
    with pytest.raises(UnknownNameError, match="APPL"):
        FeatureStream(DEFAULT, ("APPL",), real_bars)


def test_a_stream_finds_its_symbols_in_any_order(real_bars: BarPanel) -> None:
    """Slices with other symbols, or another order, feed the right handles; absent symbols are NaN."""
    chosen = ("XOM", "AAPL")
    stream = FeatureStream(FeatureSet(("return_5",)), chosen, head(real_bars, 300))
    expected = backfill(real_bars.select(chosen), FeatureSet(("return_5",))).values
    assert_same_bits(stream.update(real_bars.at(300)), expected[300])
    only = real_bars.select(("AAPL", "KO")).at(301)
    values = stream.update(only)
    assert np.isnan(values[0]).all()
    assert_same_bits(values[1], expected[301, 1])


def test_bars_without_a_needed_column_are_refused_at_once(real_bars: BarPanel) -> None:
    """A feature that needs a column which the source does not have says so, by name."""
    empty = close_only_panel(real_bars.timestamps, real_bars.symbols, np.full(real_bars.close.shape, np.nan))
    with pytest.raises(DataError, match="'return_1' needs 'close'"):
        backfill(empty, DEFAULT)
