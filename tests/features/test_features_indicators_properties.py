"""Every indicator that TA-Lib lacks: causal, the same in batch and stream, and unmoved by hostile bars."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from alphaloop.errors import InputError
from features.catalogue import indicators_defined_in
from features.engine.indicator import Indicator
from features.engine.operator import Axes

MODULES = [
    "alligator",
    "anchored_vwap",
    "arnaud_legoux_average",
    "bands",
    "bias",
    "brar",
    "center_of_gravity",
    "chande_kroll_stop",
    "chandelier",
    "choppiness",
    "connors_rsi",
    "correlation_trend",
    "demarker",
    "ease_of_movement",
    "ehlers_filters",
    "elder_impulse",
    "fisher_transform",
    "fractal_adaptive_average",
    "gann_high_low",
    "holt_winters_average",
    "ichimoku",
    "jurik_strength",
    "klinger_oscillator",
    "know_sure_thing",
    "laguerre_rsi",
    "market_structure",
    "mcginley_dynamic",
    "pivot_points",
    "polarized_fractal_efficiency",
    "psychological_line",
    "quantitative_qualitative_estimation",
    "random_walk_index",
    "relative_momentum",
    "relative_vigor",
    "schaff_trend_cycle",
    "squeeze",
    "swing_index",
    "td_sequential",
    "twiggs_money_flow",
    "ulcer_index",
    "variable_dynamic_average",
    "volatility_stop",
    "volume_flow",
    "volume_profile",
    "volume_weighted_macd",
    "wave_trend",
    "weighted_average",
]
INDICATORS = [
    one
    for module in MODULES
    for one in indicators_defined_in(importlib.import_module(f"features.indicators.{module}"))
]
BARS = 320
SYMBOLS = ("ONE", "TWO", "GAP")
Series = dict[str, np.ndarray]


COLUMNS = ("open", "high", "low", "close", "volume")


def _apple() -> Series:
    """Apple's daily bars since 2000, as traded."""
    spec = importlib.util.find_spec("bokeh_sampledata")
    assert spec is not None and spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "_data" / "stocks.csv.gz", "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["Ticker"] == "AAPL"]
    return {name: np.array([float(row[name.capitalize()]) for row in rows]) for name in COLUMNS}


@pytest.fixture(scope="module")
def bars() -> Series:
    """Three symbols' bars, `[T, N]`: Apple's, the same later, and the first with gaps."""
    apple = _apple()
    columns = {
        name: np.column_stack([values[:BARS], values[1000 : 1000 + BARS], values[:BARS]])
        for name, values in apple.items()
    }
    absent = np.random.default_rng(3).random(BARS) < 0.2
    for values in columns.values():
        values[absent, 2] = np.nan
    return columns


def _axes(length: int) -> Axes:
    days = np.busday_offset("2001-01-01", np.arange(length), roll="forward")
    closes: np.ndarray = days.astype("datetime64[ns]") + np.timedelta64(21, "h")
    return Axes(closes, SYMBOLS)


def _batch(one: Indicator, bars: Series) -> list[np.ndarray]:
    inputs = tuple(bars[name] for name in one.inputs)
    return list(one.factory().batch(inputs, _axes(len(inputs[0]))))


@pytest.mark.parametrize("one", INDICATORS, ids=lambda one: one.name)
def test_batch_and_stream_are_the_same_indicator(one: Indicator, bars: Series) -> None:
    """Bars taken in one by one, from the first or from the middle of history, give what the batch gives."""
    whole, axes = _batch(one, bars), _axes(BARS)
    operator = one.factory()
    for begin in (0, 250):
        history = tuple(bars[name][:begin] for name in one.inputs)
        handle = operator.stream(history, Axes(axes.times[:begin], SYMBOLS))
        rows = [
            handle.update(tuple(bars[name][row] for name in one.inputs), axes.times[row])
            for row in range(begin, BARS)
        ]
        for place, values in enumerate(whole):
            streamed = np.array([row[place] for row in rows])
            if operator.exact:
                np.testing.assert_array_equal(streamed, values[begin:])
            else:
                np.testing.assert_allclose(streamed, values[begin:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("one", INDICATORS, ids=lambda one: one.name)
def test_no_bar_changes_what_was_known_before_it(one: Indicator, bars: Series) -> None:
    """With every bar after the 200th replaced, no value at or before it is another."""
    later = np.random.default_rng(7).uniform(0.2, 5.0, (BARS, 1))
    later[:200] = 1.0
    changed = {name: values * later for name, values in bars.items()}
    for before, after in zip(_batch(one, bars), _batch(one, changed), strict=True):
        np.testing.assert_array_equal(before[:200], after[:200])
        assert not np.array_equal(before[200:], after[200:], equal_nan=True)


@pytest.mark.parametrize("one", INDICATORS, ids=lambda one: one.name)
def test_bars_a_symbol_lacks_are_skipped(one: Indicator, bars: Series) -> None:
    """A symbol with gaps has the values of its bars put together, and none where it has no bar."""
    rows = np.flatnonzero(np.isfinite(bars["close"][:, 2]))
    inputs = tuple(bars[name][rows] for name in one.inputs)
    axes = Axes(_axes(BARS).times[rows], SYMBOLS)
    for gapped, dense in zip(_batch(one, bars), one.factory().batch(inputs, axes), strict=True):
        np.testing.assert_array_equal(gapped[rows, 2], dense[:, 2])
        assert np.isnan(np.delete(gapped[:, 2], rows)).all()


@pytest.mark.parametrize("one", INDICATORS, ids=lambda one: one.name)
def test_the_first_value_comes_at_the_lookback(one: Indicator, bars: Series) -> None:
    """Nothing is said before `lookback` bars; then there is a value (levels may wait)."""
    operator = one.factory()
    assert operator.outputs == one.outputs
    results = _batch(one, bars)
    for values in results:
        assert np.isnan(values[: operator.lookback - 1, 0]).all()
    if one.name not in {"market_structure", "gann_high_low"}:
        assert all(np.isfinite(values[operator.lookback - 1 :, 0]).all() for values in results)


HOSTILE = {
    "constant": lambda bars: {name: np.full_like(values, 0.1) for name, values in bars.items()},
    "huge": lambda bars: {name: values * 1e12 for name, values in bars.items()},
    "tiny": lambda bars: {name: values * 1e-9 for name, values in bars.items()},
    "no volume": lambda bars: {**bars, "volume": bars["volume"] * 0.0},
    "no price": lambda bars: {name: values * 0.0 for name, values in bars.items()},
    "from huge to tiny": lambda bars: {
        name: values * np.where(np.arange(BARS) < 150, 1e12, 1e-9)[:, None] for name, values in bars.items()
    },
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [1, BARS])
def test_hostile_bars_give_a_number_or_none(length: int, bars: Series) -> None:
    """Constant, huge, tiny and single bars give finite values or NaN, without a warning, batch or stream."""
    kinds = {kind: change(bars) for kind, change in HOSTILE.items()}
    hostile = {name: np.hstack([one[name] for one in kinds.values()])[:length] for name in bars}
    symbols = tuple(f"{symbol} {kind}" for kind in kinds for symbol in SYMBOLS)
    times = _axes(length).times
    for one in INDICATORS:
        inputs = tuple(hostile[name] for name in one.inputs)
        operator = one.factory()
        batch = operator.batch(inputs, Axes(times, symbols))
        handle = operator.stream(tuple(values[:-1] for values in inputs), Axes(times[:-1], symbols))
        last = handle.update(tuple(values[-1] for values in inputs), times[-1])
        for values, streamed in zip(batch, last, strict=True):
            infinite = np.isinf(values).any(axis=0)
            assert not infinite.any(), (one.name, np.array(symbols)[infinite])
            np.testing.assert_allclose(streamed, values[-1], rtol=1e-9, atol=1e-300, err_msg=one.name)


SCALED = 2.0**-20
FREE_OF_SCALE = [
    "bias",
    "bollinger_position",
    "choppiness",
    "connors_rsi",
    "correlation_trend",
    "demarker",
    "even_better_sinewave",
    "fisher_transform",
    "know_sure_thing",
    "laguerre_rsi",
    "polarized_fractal_efficiency",
    "psychological_line",
    "qqe",
    "random_walk_index",
    "relative_momentum",
    "relative_vigor",
    "rsx",
    "schaff_trend_cycle",
    "td_sequential",
    "trend_intensity",
    "ttm_trend",
    "ulcer_index",
    "wave_trend",
    "center_of_gravity",
    "brar",
    "twiggs_money_flow",
    "up_volume_share",
    "elder_impulse",
]


@pytest.mark.parametrize(
    "one", [one for one in INDICATORS if one.name in FREE_OF_SCALE], ids=lambda one: one.name
)
def test_what_is_free_of_scale_does_not_depend_on_the_unit_of_price(one: Indicator, bars: Series) -> None:
    """Prices in another currency unit (a power of two) give the same values."""
    scaled = {name: values if name == "volume" else values * SCALED for name, values in bars.items()}
    for values, other in zip(_batch(one, bars), _batch(one, scaled), strict=True):
        np.testing.assert_allclose(values, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "one", [one for one in INDICATORS if "length" in one.parameters], ids=lambda one: one.name
)
@pytest.mark.parametrize("length", [0, -3, 10**9])
def test_a_length_that_cannot_be_is_refused_by_name(one: Indicator, length: int) -> None:
    """No bars, or more than fit in memory, are an input error that names indicator and parameter."""
    from features.engine.graph import Input

    with pytest.raises(InputError, match=f"'{one.name}' cannot take .*length"):
        one.apply([Input(name) for name in one.inputs], named={"length": length})
