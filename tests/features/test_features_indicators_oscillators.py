"""Oscillators and filters against slow references: the textbook's recursion, bar by bar, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from features.catalogue import find_indicator
from features.engine.operator import Axes

NAN = math.nan
LENGTH = 260
Bars = dict[str, list[float]]


@pytest.fixture(scope="module")
def bars() -> Bars:
    """A random walk with opens, extremes and volumes; seldom a bar repeats the close before it."""
    draw = np.random.default_rng(11)
    steps = draw.normal(0.0, 0.02, LENGTH) * (draw.random(LENGTH) > 0.1)
    close = 50.0 * np.exp(np.cumsum(steps))
    opened = close * np.exp(draw.normal(0.0, 0.01, LENGTH))
    opened[::17] = close[::17]
    high = np.maximum(opened, close) * (1.0 + np.abs(draw.normal(0.0, 0.01, LENGTH)))
    low = np.minimum(opened, close) * (1.0 - np.abs(draw.normal(0.0, 0.01, LENGTH)))
    volume = draw.integers(1, 2000, LENGTH).astype(float)
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return {name: values.tolist() for name, values in columns.items()}


def _compute(name: str, bars: Bars, **parameters: Any) -> list[np.ndarray]:
    indicator = find_indicator(name)
    inputs = tuple(np.array(bars[one])[:, None] for one in indicator.inputs)
    times = np.datetime64("2020-01-01", "ns") + np.arange(len(inputs[0])) * np.timedelta64(1, "D")
    operator = indicator.factory(**indicator.bind(named=parameters))
    return [values[:, 0] for values in operator.batch(inputs, Axes(times, ("ONE",)))]


def _agree(ours: np.ndarray, theirs: list[float]) -> None:
    known = np.isfinite(ours)
    assert known.sum() > 100
    assert known[known.argmax() :].all()
    np.testing.assert_allclose(ours[known], np.array(theirs)[known], rtol=1e-9, atol=1e-11)


def _smooth(values: list[float], length: int, weight: float) -> list[float]:
    """An average that begins as the plain one of the first `length` known values."""
    begun = [place for place, value in enumerate(values) if not math.isnan(value)]
    first = begun[0] + length - 1
    average = [NAN] * first + [fmean(values[begun[0] : first + 1])]
    for value in values[first + 1 :]:
        average.append(average[-1] + weight * (value - average[-1]))
    return average


def _exponential(values: list[float], length: int) -> list[float]:
    return _smooth(values, length, 2.0 / (length + 1))


def _wilder(values: list[float], length: int) -> list[float]:
    return _smooth(values, length, 1.0 / length)


def _strength(changes: list[float], length: int) -> list[float]:
    gains = _wilder([max(one, 0.0) if math.isfinite(one) else NAN for one in changes], length)
    losses = _wilder([max(-one, 0.0) if math.isfinite(one) else NAN for one in changes], length)
    return [100.0 * up / (up + down) if up + down else 50.0 for up, down in zip(gains, losses, strict=True)]


def _changes(values: list[float], bars: int = 1) -> list[float]:
    return [NAN] * bars + [after - before for before, after in zip(values, values[bars:], strict=False)]


def _true_ranges(bars: Bars) -> list[float]:
    triples = zip(bars["high"][1:], bars["low"][1:], bars["close"], strict=False)
    return [NAN] + [max(high, before) - min(low, before) for high, low, before in triples]


def _rolled(length: int, function: Callable[[int, int], float], bars: int = LENGTH) -> list[float]:
    """`function(first, end)` of every window of rows."""
    return [NAN] * (length - 1) + [function(end - length, end) for end in range(length, bars + 1)]


def test_connors_rsi_is_the_mean_of_its_three_parts(bars: Bars) -> None:
    """RSI of the close, RSI of the streak, and a count over the returns before."""
    close, rank = bars["close"], 40
    streak = [0.0]
    for change in _changes(close)[1:]:
        direction = (change > 0) - (change < 0)
        streak.append(streak[-1] + direction if direction * streak[-1] > 0 else float(direction))
    returns = [change / before for change, before in zip(_changes(close)[1:], close, strict=False)]
    ranks = [NAN] * (rank + 1)
    for now in range(rank, len(returns)):
        ranks.append(100.0 * sum(one < returns[now] for one in returns[now - rank : now]) / rank)
    parts = zip(_strength(_changes(close), 3), _strength(_changes(streak), 2), ranks, strict=True)
    _agree(_compute("connors_rsi", bars, rank=rank)[0], [sum(one) / 3 for one in parts])


def test_relative_momentum_is_rsi_of_longer_changes(bars: Bars) -> None:
    """Changes over five bars into Wilder's averages."""
    _agree(_compute("relative_momentum", bars)[0], _strength(_changes(bars["close"], 5), 20))


def test_wave_trend_is_a_smoothed_channel_index(bars: Bars) -> None:
    """Averages of the typical price, of its distances, and of their quotient."""
    typical = [sum(one) / 3 for one in zip(bars["high"], bars["low"], bars["close"], strict=True)]
    average = _exponential(typical, 10)
    spread = _exponential([abs(a - b) for a, b in zip(typical, average, strict=True)], 10)
    index = [(a - b) / (0.015 * c) for a, b, c in zip(typical, average, spread, strict=True)]
    value = _exponential(index, 21)
    ours, signal = _compute("wave_trend", bars)
    _agree(ours, value)
    _agree(signal, _rolled(4, lambda first, end: fmean(value[first:end])))


def test_elder_impulse_needs_both_to_agree(bars: Bars) -> None:
    """The signs of the average's and the histogram's change."""
    close = bars["close"]
    inertia = _exponential(close, 13)
    macd = [a - b for a, b in zip(_exponential(close, 12), _exponential(close, 26), strict=True)]
    histogram = [a - b for a, b in zip(macd, _exponential(macd, 9), strict=True)]
    both = zip(_changes(inertia), _changes(histogram), strict=True)
    expected = [float(a > 0 and b > 0) - float(a < 0 and b < 0) for a, b in both]
    ours = _compute("elder_impulse", bars)[0]
    _agree(ours, expected)
    assert {-1.0, 0.0, 1.0} <= set(ours.tolist())


def test_elder_thermometer_reads_how_far_a_bar_reaches(bars: Bars) -> None:
    """The larger of new high ground and new low ground, never below zero; its average."""
    pairs = zip(_changes(bars["high"]), _changes(bars["low"]), strict=True)
    reached = [NAN] + [max(up, -down, 0.0) for up, down in list(pairs)[1:]]
    value, average = _compute("elder_thermometer", bars)
    _agree(value, reached)
    _agree(average, _exponential(reached, 22))


def test_pretty_good_oscillator_counts_true_ranges(bars: Bars) -> None:
    """Distance from the plain average over the exponential average of true ranges."""
    close, ranges = bars["close"], _exponential(_true_ranges(bars), 14)
    average = _rolled(14, lambda first, end: fmean(close[first:end]))
    expected = [(a - b) / c for a, b, c in zip(close, average, ranges, strict=True)]
    _agree(_compute("pretty_good_oscillator", bars)[0], expected)


def test_demarker_is_the_share_of_rising_highs(bars: Bars) -> None:
    """Sums of rising highs and falling lows in a loop."""
    ups = [max(one, 0.0) for one in _changes(bars["high"])[1:]]
    downs = [max(-one, 0.0) for one in _changes(bars["low"])[1:]]

    def share(first: int, end: int) -> float:
        return sum(ups[first:end]) / (sum(ups[first:end]) + sum(downs[first:end]))

    _agree(_compute("demarker", bars)[0], [NAN, *_rolled(14, share, LENGTH - 1)])


def test_trend_intensity_weighs_what_is_above_the_average(bars: Bars) -> None:
    """Distances of the last thirty closes from the average of sixty."""
    close = bars["close"]

    def intensity(first: int, end: int) -> float:
        average = fmean(close[first:end])
        above = sum(max(one - average, 0.0) for one in close[end - 30 : end])
        below = sum(max(average - one, 0.0) for one in close[end - 30 : end])
        return 100.0 * above / (above + below)

    _agree(_compute("trend_intensity", bars)[0], _rolled(60, intensity))


def test_random_walk_index_is_the_best_over_horizons(bars: Bars) -> None:
    """For each horizon the reach over the mean true range before and the root of the bars."""
    high, low, ranges, length = bars["high"], bars["low"], _true_ranges(bars), 6
    ups, downs = [NAN] * (length + 1), [NAN] * (length + 1)
    for now in range(length + 1, LENGTH):
        scale = {n: fmean(ranges[now - n : now]) * math.sqrt(n) for n in range(2, length + 1)}
        ups.append(max((high[now] - low[now - n]) / one for n, one in scale.items()))
        downs.append(max((high[now - n] - low[now]) / one for n, one in scale.items()))
    for ours, theirs in zip(_compute("random_walk_index", bars, length=length), (ups, downs), strict=True):
        _agree(ours, theirs)


def test_polarized_fractal_efficiency_measures_straightness(bars: Bars) -> None:
    """Straight way over way along the closes, in percent of the window's first close."""
    close, length = bars["close"], 10

    def efficiency(first: int, end: int) -> float:
        points = [100.0 * (one / close[first] - 1.0) for one in close[first:end]]
        way = sum(math.hypot(b - a, 1.0) for a, b in pairwise(points))
        straight = math.hypot(points[-1], float(length))
        return 100.0 * straight / way * ((points[-1] > 0) - (points[-1] < 0))

    expected = _exponential(_rolled(length + 1, efficiency), 5)
    _agree(_compute("polarized_fractal_efficiency", bars)[0], expected)


def test_swing_index_worked_by_hand() -> None:
    """Wilder's three cases of R: the reach above the close before, below it, and the range itself."""
    two = {"open": [100.0, 103.0], "high": [104.0, 110.0], "low": [99.0, 101.0], "close": [102.0, 108.0]}
    # dC 6, (C-O)/2 2.5, (C'-O')/4 0.5; reach 8 up, 1 down, range 9: R = 9 + 0.5; K = 8, L = 51.
    assert _compute("swing_index", two)[0][1] == pytest.approx(50 * 9.0 / 9.5 * 8.0 / 51.0)
    two |= {"open": [100.0, 106.0], "low": [99.0, 105.0]}
    # Reach 8 up, 3 up too (distance), range 5: R = 8 - 1.5 + 0.5; dC 6 + 1 + 0.5.
    assert _compute("swing_index", two)[0][1] == pytest.approx(50 * 7.5 / 7.0 * 8.0 / 51.0)
    two |= {"open": [100.0, 97.0], "high": [104.0, 99.0], "low": [99.0, 92.0], "close": [102.0, 94.0]}
    # Below: 10 down, 3 above, range 7: R = 10 - 1.5 + 0.5; dC -8, -1.5, +0.5; K = 10.
    assert _compute("swing_index", two)[0][1] == pytest.approx(50 * -9.0 / 9.0 * 10.0 / 51.0)


def test_twiggs_money_flow_uses_the_true_range(bars: Bars) -> None:
    """The close's place between true high and true low, weighed by volume, in Wilder's averages."""
    flows, traded = [NAN], [NAN]
    for now in range(1, LENGTH):
        top, bottom = (
            max(bars["high"][now], bars["close"][now - 1]),
            min(bars["low"][now], bars["close"][now - 1]),
        )
        close, volume = bars["close"][now], bars["volume"][now]
        flows.append(((close - bottom) - (top - close)) / (top - bottom) * volume)
        traded.append(volume)
    both = zip(_wilder(flows, 21), _wilder(traded, 21), strict=True)
    _agree(_compute("twiggs_money_flow", bars)[0], [a / b for a, b in both])


def test_up_volume_share_counts_a_standstill_half(bars: Bars) -> None:
    """Volume of rising bars over all, in a loop."""
    rows = zip(bars["open"], bars["close"], bars["volume"], strict=True)
    up = [
        volume * (1.0 if close > opened else 0.5 if close == opened else 0.0)
        for opened, close, volume in rows
    ]
    share = _rolled(20, lambda first, end: sum(up[first:end]) / sum(bars["volume"][first:end]))
    _agree(_compute("up_volume_share", bars)[0], share)


def test_mcginley_dynamic_never_steps_beyond_the_close(bars: Bars) -> None:
    """The published step, and no further than the close after a crash that would overshoot it."""
    close = [*bars["close"][:200], *(one / 4 for one in bars["close"][200:])]
    line = [close[0]]
    for price in close[1:]:
        line.append(line[-1] + (price - line[-1]) / max(0.6 * 10 * (price / line[-1]) ** 4, 1.0))
    ours = _compute("mcginley_dynamic", {"close": close})[0]
    _agree(ours, line)
    assert ours[200] == close[200]


def test_frama_slows_down_as_the_price_fills_space(bars: Bars) -> None:
    """The fractal dimension from three ranges, and Ehlers' weight of it."""
    high, low, half = bars["high"], bars["low"], 8
    median = [(a + b) / 2 for a, b in zip(high, low, strict=True)]

    def extent(first: int, end: int) -> float:
        return (max(high[first:end]) - min(low[first:end])) / (end - first)

    line = [NAN] * 14 + [median[14]]
    for end in range(16, LENGTH + 1):
        parts = extent(end - 16, end - half) + extent(end - half, end)
        dimension = (math.log(parts) - math.log(extent(end - 16, end))) / math.log(2.0)
        weight = min(max(math.exp(-4.6 * (dimension - 1.0)), 0.01), 1.0)
        before = line[-1] if end > 16 else median[15]
        line.append(weight * median[end - 1] + (1.0 - weight) * before)
    _agree(_compute("frama", bars)[0], line)


def _smoother(length: int) -> tuple[float, float, float]:
    decay = math.exp(-1.414213562373095 * math.pi / length)
    second, third = 2 * decay * math.cos(1.414213562373095 * math.pi / length), -decay * decay
    return 1 - second - third, second, third


def test_decycler_is_the_price_less_its_high_pass(bars: Bars) -> None:
    """The published recursion of price and of price a bar ago."""
    close, angle = bars["close"], 2 * math.pi / 60
    alpha = (math.cos(angle) + math.sin(angle) - 1) / math.cos(angle)
    line = [close[0]]
    for before, price in pairwise(close):
        line.append(alpha / 2 * (price + before) + (1 - alpha) * line[-1])
    _agree(_compute("decycler", bars)[0], line)


def test_roofing_filter_is_a_high_pass_and_a_smoother(bars: Bars) -> None:
    """The book's two recursions, one after the other; price before the first bar is the first price."""
    close, angle = bars["close"], 0.7071067811865476 * 2 * math.pi / 48
    alpha = (math.cos(angle) + math.sin(angle) - 1) / math.cos(angle)
    first, second, third = _smoother(10)
    padded, high, smooth = [close[0]] * 2 + close, [0.0, 0.0], [0.0, 0.0]
    for now in range(2, len(padded)):
        change = padded[now] - 2 * padded[now - 1] + padded[now - 2]
        gain = (1 - alpha / 2) ** 2 * change
        high.append(gain + 2 * (1 - alpha) * high[-1] - (1 - alpha) ** 2 * high[-2])
        smooth.append(first * (high[-1] + high[-2]) / 2 + second * smooth[-1] + third * smooth[-2])
    _agree(_compute("roofing_filter", bars)[0], smooth[2:])


def test_even_better_sinewave_is_a_wave_over_its_power(bars: Bars) -> None:
    """The book's high-pass, smoother and normalisation, angles in radians."""
    close, angle = bars["close"], 2 * math.pi / 40
    kept = (1 - math.sin(angle)) / math.cos(angle)
    first, second, third = _smoother(10)
    high, smooth, waves = [0.0], [0.0, 0.0, 0.0], [0.0]
    for before, price in pairwise(close):
        high.append(0.5 * (1 + kept) * (price - before) + kept * high[-1])
        smooth.append(first * (high[-1] + high[-2]) / 2 + second * smooth[-1] + third * smooth[-2])
        last = smooth[-3:]
        waves.append(fmean(last) / math.sqrt(fmean([one * one for one in last])) if any(last) else 0.0)
    ours = _compute("even_better_sinewave", bars)[0]
    _agree(ours, waves)
    assert np.nanmax(np.abs(ours)) <= 1.0 + 1e-12


def test_cyber_cycle_is_a_high_pass_of_a_smoothed_median(bars: Bars) -> None:
    """The book's recursion with the weights 1, 2, 2, 1; its trigger is the value a bar ago."""
    median = [(a + b) / 2 for a, b in zip(bars["high"], bars["low"], strict=True)]
    padded = [median[0]] * 3 + median
    smooth = [
        (padded[n] + 2 * padded[n - 1] + 2 * padded[n - 2] + padded[n - 3]) / 6 for n in range(3, len(padded))
    ]
    smooth, cycle, alpha = [smooth[0]] * 2 + smooth, [0.0, 0.0], 0.07
    for now in range(2, len(smooth)):
        change = smooth[now] - 2 * smooth[now - 1] + smooth[now - 2]
        cycle.append(
            (1 - alpha / 2) ** 2 * change + 2 * (1 - alpha) * cycle[-1] - (1 - alpha) ** 2 * cycle[-2]
        )
    value, trigger = _compute("cyber_cycle", bars)
    _agree(value, cycle[2:])
    _agree(trigger, cycle[1:-1])


def test_volume_flow_counts_only_changes_beyond_the_cutoff(bars: Bars) -> None:
    """Katsanos' rules in a loop: cutoff from thirty changes, capped volume, sum over average volume."""
    rows = zip(bars["high"], bars["low"], bars["close"], strict=True)
    typical, volume, length = [sum(one) / 3 for one in rows], bars["volume"], 40
    growth = [NAN] + [math.log(after / before) for before, after in pairwise(typical)]
    flows = [NAN] * LENGTH
    for now in range(length, LENGTH):
        recent = growth[now - 29 : now + 1]
        cutoff = 0.2 * math.sqrt(fmean([(one - fmean(recent)) ** 2 for one in recent])) * bars["close"][now]
        move = typical[now] - typical[now - 1]
        capped = min(volume[now], 2.5 * fmean(volume[now - length : now]))
        flows[now] = capped * ((move > cutoff) - (move < -cutoff))
    sums = [NAN] * (2 * length - 1)
    for now in range(2 * length - 1, LENGTH):
        sums.append(sum(flows[now - length + 1 : now + 1]) / fmean(volume[now - length : now]))
    _agree(_compute("volume_flow", bars, length=length)[0], _exponential(sums, 3))
