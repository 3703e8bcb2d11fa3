"""Price levels against slow references: swings, pivots, volume profile, anchored averages, stops, bands."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import InputError
from features.catalogue import find_indicator
from features.engine.operator import Axes

NAN = math.nan
Bars = dict[str, list[float]]


def _random_bars(length: int = 260, seed: int = 5) -> Bars:
    draw = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(draw.normal(0.0, 0.02, length)))
    opened = close * np.exp(draw.normal(0.0, 0.01, length))
    high = np.maximum(opened, close) * (1.0 + np.abs(draw.normal(0.0, 0.01, length)))
    low = np.minimum(opened, close) * (1.0 - np.abs(draw.normal(0.0, 0.01, length)))
    volume = draw.integers(1, 2000, length).astype(float)
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return {name: values.tolist() for name, values in columns.items()}


def _closes(length: int) -> list[datetime]:
    """Two bars a day on weekdays: 15:00 and 21:00 UTC."""
    times: list[datetime] = []
    day = datetime(2021, 1, 28, tzinfo=UTC)
    while len(times) < length:
        if day.weekday() < 5:
            times += [day.replace(hour=15), day.replace(hour=21)]
        day += timedelta(days=1)
    return times[:length]


def _compute(name: str, bars: Bars, **parameters: Any) -> list[np.ndarray]:
    indicator = find_indicator(name)
    length = len(next(iter(bars.values())))
    stamps = np.array([time.replace(tzinfo=None) for time in _closes(length)], dtype="datetime64[ns]")
    inputs = tuple(np.array(bars[one])[:, None] for one in indicator.inputs)
    operator = indicator.factory(**indicator.bind(named=parameters))
    return [values[:, 0] for values in operator.batch(inputs, Axes(stamps, ("ONE",)))]


def _agree(ours: np.ndarray, theirs: list[float]) -> None:
    np.testing.assert_allclose(ours, np.array(theirs), rtol=1e-9, atol=1e-12)


def _wilder(values: list[float], length: int) -> list[float]:
    """Wilder's average: the plain one of the first values, then a part of the way to each."""
    average = [NAN] * (length - 1) + [fmean(values[:length])]
    for value in values[length:]:
        average.append((average[-1] * (length - 1) + value) / length)
    return average


def _average_true_range(bars: Bars, length: int) -> list[float]:
    ranges = [
        max(high, before) - min(low, before)
        for high, low, before in zip(bars["high"][1:], bars["low"][1:], bars["close"], strict=False)
    ]
    return [NAN, *_wilder(ranges, length)]


def test_swings_are_known_only_after_the_bars_that_confirm_them() -> None:
    """A hand-drawn zigzag: a top at bar 2 and a higher one at bar 6 appear two bars later each."""
    high = [1.0, 2.0, 5.0, 4.0, 3.0, 4.0, 7.0, 6.0, 5.0, 4.5]
    low = [0.5, 1.5, 4.0, 3.0, 2.0, 3.0, 6.0, 5.0, 4.0, 3.5]
    rose, fell, support, resistance, trend = _compute(
        "market_structure", {"high": high, "low": low}, left=2, right=2
    )
    _agree(resistance, [NAN] * 4 + [5.0] * 4 + [7.0] * 2)
    _agree(support, [NAN] * 6 + [2.0] * 4)
    _agree(rose, [NAN] * 4 + [0.0] * 4 + [1.0] * 2)
    _agree(fell, [NAN] * 4 + [0.0] * 6)
    _agree(trend, [NAN] * 4 + [0.0] * 6)


def test_market_structure_is_what_a_search_over_all_swings_finds() -> None:
    """Swings found by comparing each bar with its neighbours give the same levels, flags and trend."""
    bars, left, right = _random_bars(), 3, 2
    ours = _compute("market_structure", bars, left=left, right=right)
    tops: list[float] = []
    bottoms: list[float] = []
    for now in range(left + right, len(bars["high"])):
        place = now - right
        for values, swings, sign in ((bars["high"], tops, 1.0), (bars["low"], bottoms, -1.0)):
            middle = sign * values[place]
            before = [sign * one for one in values[place - left : place]]
            after = [sign * one for one in values[place + 1 : now + 1]]
            if middle > max(before) and middle >= max(after):
                swings.append(values[place])
        higher = len(tops) > 1 and tops[-1] > tops[-2]
        lower = len(bottoms) > 1 and bottoms[-1] < bottoms[-2]
        up = higher and len(bottoms) > 1 and bottoms[-1] > bottoms[-2]
        down = lower and len(tops) > 1 and tops[-1] < tops[-2]
        levels = (bottoms[-1] if bottoms else NAN, tops[-1] if tops else NAN)
        for values, expected in zip(ours, (higher, lower, *levels, up - down), strict=True):
            np.testing.assert_equal(values[now], float(expected))
    assert {-1.0, 0.0, 1.0} <= set(ours[4].tolist())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("classic", (100.0, 105.0, 110.0, 115.0, 95.0, 90.0, 85.0)),
        ("fibonacci", (100.0, 103.82, 106.18, 110.0, 96.18, 93.82, 90.0)),
        (
            "camarilla",
            (100.0, 100.0 + 11 / 12, 100.0 + 11 / 6, 102.75, 100.0 - 11 / 12, 100.0 - 11 / 6, 97.25),
        ),
    ],
)
def test_pivot_points_of_a_day_worked_by_hand(kind: str, expected: tuple[float, ...]) -> None:
    """A day of high 105, low 95, close 100 (two bars) gives the textbook's levels on the day after it."""
    bars = {
        "high": [105.0, 103.0, 999.0, 1.0],
        "low": [99.0, 95.0, 998.0, 0.5],
        "close": [101.0, 100.0, 998.5, 0.7],
    }
    ours = _compute("pivot_points", bars, kind=kind)
    for values, level in zip(ours, expected, strict=True):
        _agree(values, [NAN, NAN, level, level])


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_pivots_look_at_the_last_complete_period(period: str) -> None:
    """High, low and close gathered by calendar period, in a plain loop, give the same pivot and range."""
    bars = _random_bars()
    times = _closes(len(bars["close"]))
    number = {
        "day": lambda time: time.date(),
        "week": lambda time: time.isocalendar()[:2],
        "month": lambda time: (time.year, time.month),
    }[period]
    periods: dict[Any, list[int]] = {}
    for row, time in enumerate(times):
        periods.setdefault(number(time), []).append(row)
    names = list(periods)
    pivots, tops, bottoms = [], [], []
    for time in times:
        place = names.index(number(time))
        if place == 0:
            values = (NAN, NAN, NAN)
        else:
            rows = periods[names[place - 1]]
            highest, lowest = max(bars["high"][row] for row in rows), min(bars["low"][row] for row in rows)
            values = (highest, lowest, bars["close"][rows[-1]])
        pivot, middle = sum(values) / 3, (values[0] + values[1]) / 2
        pivots.append(pivot)
        tops.append(max(middle, 2 * pivot - middle))
        bottoms.append(min(middle, 2 * pivot - middle))
    _agree(_compute("pivot_points", bars, period=period)[0], pivots)
    for ours, theirs in zip(
        _compute("central_pivot_range", bars, period=period), (pivots, tops, bottoms), strict=True
    ):
        _agree(ours, theirs)


def test_an_unknown_period_or_kind_is_refused_with_those_there_are() -> None:
    """The message lists the periods, and the kinds."""
    with pytest.raises(InputError, match="known: session, day, week, month, year"):
        find_indicator("anchored_vwap").factory(anchor="moon")
    with pytest.raises(InputError, match="known: classic, fibonacci, camarilla"):
        find_indicator("pivot_points").factory(kind="woodie")


@pytest.mark.parametrize("anchor", ["session", "week", "month", "year"])
def test_anchored_vwap_is_money_over_shares_since_the_period_began(anchor: str) -> None:
    """Summed anew over all bars of the period so far, at every bar."""
    bars = _random_bars()
    times = _closes(len(bars["close"]))
    same = {
        "session": lambda a, b: a.date() == b.date(),
        "week": lambda a, b: a.isocalendar()[:2] == b.isocalendar()[:2],
        "month": lambda a, b: (a.year, a.month) == (b.year, b.month),
        "year": lambda a, b: a.year == b.year,
    }[anchor]
    expected = []
    for now in range(len(times)):
        rows = [row for row in range(now + 1) if same(times[row], times[now])]
        shares = sum(bars["volume"][row] for row in rows)
        prices = [(bars["high"][row] + bars["low"][row] + bars["close"][row]) / 3 for row in rows]
        money = sum(price * bars["volume"][row] for price, row in zip(prices, rows, strict=True))
        expected.append(money / shares)
    _agree(_compute("anchored_vwap", bars, anchor=anchor)[0], expected)


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    """Four six-hour bars of a day that trades round the clock are one session."""
    stamps = np.datetime64("2021-03-01T06:00", "ns") + np.arange(8) * np.timedelta64(6, "h")
    price = np.arange(1.0, 9.0)[:, None]
    inputs = (price, price, price, np.ones_like(price))
    (values,) = find_indicator("anchored_vwap").factory("session").batch(inputs, Axes(stamps, ("BTC",)))
    _agree(values[:, 0], [1.0, 1.5, 2.0, 2.5, 5.0, 5.5, 6.0, 6.5])


def test_extreme_vwap_begins_at_the_latest_extreme_close() -> None:
    """The average since the highest, and the lowest, of the last closes, found by search."""
    bars, length = _random_bars(), 20
    ours = _compute("extreme_vwap", bars, length=length)
    for now in range(length - 1, len(bars["close"])):
        window = range(now - length + 1, now + 1)
        for values, sign in zip(ours, (1.0, -1.0), strict=True):
            anchor = max(window, key=lambda row: (sign * bars["close"][row], row))
            rows = range(anchor, now + 1)
            prices = [(bars["high"][row] + bars["low"][row] + bars["close"][row]) / 3 for row in rows]
            money = sum(price * bars["volume"][row] for price, row in zip(prices, rows, strict=True))
            assert values[now] == pytest.approx(money / sum(bars["volume"][row] for row in rows), rel=1e-9)


def test_volume_profile_worked_by_hand() -> None:
    """Volumes of 1, 2, 10, 4, 3 at prices 0 to 5: the control is 2.5, 70 % lie between 2 and 5."""
    bars = {
        "high": [1.0, 2.0, 3.0, 4.0, 5.0],
        "low": [0.0, 1.0, 2.0, 3.0, 4.0],
        "volume": [1.0, 2.0, 10.0, 4.0, 3.0],
    }
    control, high, low = (values[-1] for values in _compute("volume_profile", bars, length=5, bins=5))
    assert (control, high, low) == (2.5, 4.0, 2.0)
    *_, high, low = (values[-1] for values in _compute("volume_profile", bars, length=5, bins=5, share=0.71))
    assert (high, low) == (5.0, 2.0)
    *_, high, low = (values[-1] for values in _compute("volume_profile", bars, length=5, bins=5, share=1.0))
    assert (high, low) == (5.0, 0.0)


def test_volume_profile_is_what_a_loop_over_bars_and_bins_gives() -> None:
    """Volume spread over the bins a bar touches, and an area grown by the fuller neighbour."""
    bars, length, bins = _random_bars(120), 30, 12
    bars["high"][40] = bars["low"][40] = bars["close"][40]
    ours = _compute("volume_profile", bars, length=length, bins=bins)
    for now in range(length - 1, 120):
        rows = range(now - length + 1, now + 1)
        bottom, top = min(bars["low"][row] for row in rows), max(bars["high"][row] for row in rows)
        height = (top - bottom) / bins
        held = [0.0] * bins
        for row in rows:
            low, high = bars["low"][row], bars["high"][row]
            for place in range(bins):
                lower, upper = bottom + place * height, bottom + (place + 1) * height
                if high > low:
                    held[place] += (
                        bars["volume"][row] * max(min(high, upper) - max(low, lower), 0.0) / (high - low)
                    )
                elif lower <= low < upper:
                    held[place] += bars["volume"][row]
        first = last = max(range(bins), key=lambda place: held[place])
        control = bottom + (first + 0.5) * height
        while sum(held[first : last + 1]) < 0.7 * sum(held):
            below = held[first - 1] if first > 0 else -1.0
            above = held[last + 1] if last < bins - 1 else -1.0
            first, last = (first - 1, last) if below >= above else (first, last + 1)
        expected = (control, bottom + (last + 1) * height, bottom + first * height)
        assert [values[now] for values in ours] == pytest.approx(expected, rel=1e-9)


def test_volume_profile_of_one_price_is_that_price() -> None:
    """A constant price is its own control and area; without volume there is none."""
    flat = {"high": [7.0] * 5, "low": [7.0] * 5, "volume": [3.0] * 5}
    assert [values[-1] for values in _compute("volume_profile", flat, length=5)] == [7.0, 7.0, 7.0]
    flat["volume"] = [0.0] * 5
    assert all(np.isnan(values[-1]) for values in _compute("volume_profile", flat, length=5))


def test_volatility_stop_follows_and_turns() -> None:
    """A loop that keeps the best close since the turn gives the same stop and direction."""
    bars, length = _random_bars(), 10
    line, direction = _compute("volatility_stop", bars, length=length, multiplier=2.0)
    width = [2.0 * one for one in _average_true_range(bars, length)]
    trend, best, stop = 1, NAN, NAN
    for now in range(length, len(bars["close"])):
        close = bars["close"][now]
        if math.isnan(stop):
            best, stop = close, close - width[now]
        else:
            best = max(best, close) if trend > 0 else min(best, close)
            stop = max(stop, best - width[now]) if trend > 0 else min(stop, best + width[now])
            if (close < stop) if trend > 0 else (close > stop):
                trend, best = -trend, close
                stop = close - trend * width[now]
        assert (line[now], direction[now]) == (pytest.approx(stop, rel=1e-9), trend)
    assert {-1.0, 1.0} <= set(direction.tolist())


def test_bands_are_an_average_and_a_width() -> None:
    """Envelope, STARC bands and the regression channel, each from its textbook in a loop."""
    bars, length = _random_bars(), 20
    close = bars["close"]
    envelope = _compute("envelope", bars, length=length, share=0.03)
    starc = _compute("starc", bars, length=length, multiplier=1.5, range_length=10)
    channel = _compute("regression_channel", bars, length=length, deviations=2.0)
    ranges = _average_true_range(bars, 10)
    for now in range(length - 1, len(close)):
        window = close[now - length + 1 : now + 1]
        average = fmean(window)
        assert [one[now] for one in envelope] == pytest.approx(
            [average * 1.03, average, average * 0.97], rel=1e-9
        )
        width = 1.5 * ranges[now]
        assert [one[now] for one in starc] == pytest.approx(
            [average + width, average, average - width], rel=1e-9
        )
        steepness, start = np.polyfit(range(length), window, 1)
        rest = [value - (start + steepness * place) for place, value in enumerate(window)]
        end, error = (
            start + steepness * (length - 1),
            math.sqrt(sum(one * one for one in rest) / (length - 2)),
        )
        assert [one[now] for one in channel] == pytest.approx(
            [end + 2 * error, end, end - 2 * error], rel=1e-9
        )


def test_the_alligator_is_drawn_ahead() -> None:
    """Each line is Wilder's average of the median price of as many bars ago as it is drawn ahead."""
    bars = _random_bars()
    median = [(high + low) / 2 for high, low in zip(bars["high"], bars["low"], strict=True)]
    lines = _compute("alligator", bars)
    expected = []
    for length, ahead in ((13, 8), (8, 5), (5, 3)):
        expected.append([NAN] * ahead + _wilder(median, length)[:-ahead])
    for ours, theirs in zip(lines, expected, strict=True):
        _agree(ours[20:], theirs[20:])
    upper, lower = _compute("gator", bars)
    jaw, teeth, lips = (np.array(one) for one in expected)
    _agree(upper[20:], np.abs(jaw - teeth)[20:].tolist())
    _agree(lower[20:], (-np.abs(teeth - lips))[20:].tolist())


def test_the_cloud_shows_nothing_from_the_future() -> None:
    """Every Ichimoku line at a bar, from windows that end at it or 26 bars before it."""
    bars = _random_bars()
    high, low, close = bars["high"], bars["low"], bars["close"]

    def middle(end: int, length: int) -> float:
        return (max(high[end - length : end]) + min(low[end - length : end])) / 2

    ours = _compute("ichimoku", bars)
    for end in range(78, len(close) + 1):
        drawn = end - 26
        spans = ((middle(drawn, 9) + middle(drawn, 26)) / 2, middle(drawn, 52))
        expected = (middle(end, 9), middle(end, 26), *spans, close[end - 1] / close[end - 27] - 1)
        assert [values[end - 1] for values in ours] == pytest.approx(expected, rel=1e-9, abs=1e-12)
