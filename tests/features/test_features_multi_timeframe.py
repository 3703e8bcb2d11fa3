"""Coarser bars are those of the calendar, seen once they have closed and not before."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphaloop.errors import InputError
from features import catalogue
from features.engine.graph import Column, Graph, Input
from features.engine.multi_timeframe import Period, Resample, resample
from features.engine.operator import Axes, Matrix

COLUMNS = ("close", "high", "low", "open", "volume")


def daily(bars: int = 300, hour: int = 21) -> np.ndarray:
    """Closes of the weekdays from 1 January 2019 on."""
    days = pd.bdate_range("2019-01-01", periods=bars).to_numpy().astype("datetime64[ns]")
    return days + np.timedelta64(hour, "h")


def hourly(bars: int = 300) -> np.ndarray:
    """Closes of a market that never sleeps."""
    return np.datetime64("2019-03-30T05:00", "ns") + np.arange(bars) * np.timedelta64(1, "h")


def market(times: np.ndarray, seed: int = 1, symbols: int = 2) -> dict[str, Matrix]:
    """Bars at these closes."""
    random = np.random.default_rng(seed)
    shape = (len(times), symbols)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, shape), axis=0))
    opened = close * (1 + random.normal(0, 0.003, shape))
    return {
        "close": close,
        "open": opened,
        "high": np.maximum(opened, close) * 1.002,
        "low": np.minimum(opened, close) * 0.997,
        "volume": np.round(random.lognormal(10, 1, shape)),
        "buy_volume": np.round(random.lognormal(9, 1, shape)),
    }


def axes(times: np.ndarray, symbols: int = 2) -> Axes:
    """The axes of those bars."""
    return Axes(times, tuple(f"S{index}" for index in range(symbols)))


def batch(column: Column, inputs: dict[str, Matrix], times: np.ndarray) -> Matrix:
    """The column at every bar."""
    return next(iter(Graph([column]).batch(inputs, axes(times))))[1]


def stream(column: Column, inputs: dict[str, Matrix], times: np.ndarray, history: int) -> Matrix:
    """The column bar by bar after `history` bars; NaN before."""
    past = {name: values[:history] for name, values in inputs.items()}
    handle = Graph([column]).stream(past, axes(times[:history]))
    rows = [
        handle.update({name: values[row] for name, values in inputs.items()}, times[row])[0]
        for row in range(history, len(times))
    ]
    return np.vstack([np.full((history, 2), np.nan), *rows])


def with_gaps(inputs: dict[str, Matrix], seed: int = 5) -> dict[str, Matrix]:
    """The same bars with holes: single ones, a fortnight of one symbol, and a stretch of both."""
    here = np.random.default_rng(seed).uniform(size=inputs["close"].shape) > 0.1
    here[40:51, 1] = False
    here[100:108] = False
    return {name: np.where(here, values, np.nan) for name, values in inputs.items()}


def plainly(
    inputs: dict[str, Matrix], times: np.ndarray, name: str, start_of: object, symbol: int
) -> list[float]:
    """The column `name` of the last coarse bar that had ended by each bar, in the plainest way."""
    found = []
    moments = [pd.Timestamp(one) for one in times]
    for at, moment in enumerate(moments):
        if np.isnan(inputs["close"][at, symbol]):
            found.append(np.nan)
            continue
        groups: dict[tuple[pd.Timestamp, pd.Timestamp], list[int]] = {}
        for row in range(at + 1):
            if np.isfinite(inputs["close"][row, symbol]):
                start, end = start_of(moments[row])  # type: ignore[operator]
                if end <= moment:
                    groups.setdefault((start, end), []).append(row)
        if not groups:
            found.append(np.nan)
            continue
        values = inputs[name][groups[max(groups)], symbol]
        ways = {"open": values[0], "high": values.max(), "low": values.min(), "close": values[-1]}
        found.append(ways.get(name, values.sum()))
    return found


def week_of(moment: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The week, its end included."""
    day = (moment - pd.Timedelta(1, "ns")).normalize()
    start = day - pd.Timedelta(days=day.weekday())
    return start, start + pd.Timedelta(days=7)


def day_of(moment: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The day, its end included."""
    start = (moment - pd.Timedelta(1, "ns")).normalize()
    return start, start + pd.Timedelta(days=1)


def month_of(moment: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The month, its end included."""
    start = (moment - pd.Timedelta(1, "ns")).normalize().replace(day=1)
    return start, start + pd.DateOffset(months=1)


@pytest.mark.parametrize(
    ("period", "of", "times"),
    [("1w", week_of, daily()), ("1M", month_of, daily()), ("1d", day_of, hourly()), ("1d", day_of, daily())],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_coarse_bars_are_put_together_plainly(period: str, of: object, times: np.ndarray, gaps: bool) -> None:
    """First open, highest high, lowest low, last close and added volumes of the last period that had ended,
    as a plain search over all earlier bars finds them; bit for bit, with gaps too.
    """
    times = times[:80]
    inputs = with_gaps(market(times)) if gaps else market(times)
    for name in (*COLUMNS, "buy_volume"):
        found = batch(resample(Input(name), period).output(), inputs, times)
        for symbol in (0, 1):
            np.testing.assert_array_equal(found[:, symbol], plainly(inputs, times, name, of, symbol), name)


def test_a_week_of_daily_bars_is_seen_on_the_next_weeks_first_bar() -> None:
    """Friday's close is the week's, seen from Monday on and not on Friday: no calendar says it is over."""
    times = daily(12)  # From a Tuesday on.
    inputs = market(times)
    found = batch(resample(Input("close"), "1w").output(), inputs, times)[:, 0]
    assert np.isnan(found[:4]).all()
    assert (found[4:9] == inputs["close"][3, 0]).all()
    assert (found[9:] == inputs["close"][8, 0]).all()


def test_a_bar_at_the_end_of_the_period_closes_it() -> None:
    """Where a bar closes as the day ends, the day is seen at that bar, whatever comes next."""
    times = hourly(60)
    inputs = market(times)
    found = batch(resample(Input("close"), "1d").output(), inputs, times)[:, 0]
    ends = np.flatnonzero(times.astype("datetime64[D]") == times)
    assert len(ends) == 2
    for end in ends:
        assert found[end] == inputs["close"][end, 0]
        assert found[end - 1] != inputs["close"][end, 0]
        cut = {name: values[: end + 1] for name, values in inputs.items()}
        assert batch(resample(Input("close"), "1d").output(), cut, times[: end + 1])[-1, 0] == found[end]


@pytest.mark.parametrize(
    ("period", "times"),
    [
        ("1w", daily()),
        ("2w", daily()),
        ("3M", daily()),
        ("1d", hourly()),
        ("4h", hourly()),
        ("90m", hourly()),
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_coarse_streams_repeat_batches(period: str, times: np.ndarray, gaps: bool) -> None:
    """Whatever history a stream begins with, an empty one included, it goes on as the batch does: to the bit
    where the indicator is exact.
    """
    inputs = with_gaps(market(times)) if gaps else market(times)
    columns = [
        catalogue.build_indicator("rsi", named={"timeperiod": 3}).output(),
        catalogue.build_indicator("rolling_rank", named={"length": 4}).output(),
        catalogue.build_indicator("universe_return").output(),
        catalogue.build_indicator("day_of_month").output(),
        Input("high"),
    ]
    for inner in columns:
        column = resample(inner, period).output()
        whole = batch(column, inputs, times)
        assert np.isfinite(whole).any()
        for history in (0, 1, 39, 104, 250):
            found = stream(column, inputs, times, history)[history:]
            if column.exact:
                np.testing.assert_array_equal(found, whole[history:])
            else:
                np.testing.assert_allclose(found, whole[history:], rtol=1e-9)


@pytest.mark.parametrize(("period", "times"), [("1w", daily()), ("1M", daily()), ("1d", hourly())])
def test_coarse_values_see_no_later_bar(period: str, times: np.ndarray) -> None:
    """Other bars after t leave every value at or before t as it was, wherever t stands in a period."""
    before, later = market(times), market(times, seed=9)
    column = resample(catalogue.build_indicator("rsi", named={"timeperiod": 2}).output(), period).output()
    one = batch(column, before, times)
    for cut in range(100, 131):
        mixed = {name: np.vstack([before[name][:cut], later[name][cut:]]) for name in before}
        np.testing.assert_array_equal(batch(column, mixed, times)[:cut], one[:cut])
        short = {name: values[:cut] for name, values in before.items()}
        np.testing.assert_array_equal(batch(column, short, times[:cut]), one[:cut])


def test_an_indicator_on_coarse_bars_is_that_of_resampled_ones() -> None:
    """RSI of weeks equals TA-Lib's over pandas' weekly closes, each moved to the next week's bars."""
    import talib

    times = daily(400)
    inputs = market(times)
    weekly = pd.Series(inputs["close"][:, 0], pd.DatetimeIndex(times)).resample("W-SUN").last()
    expected = talib.RSI(weekly.to_numpy(), 14)
    found = batch(resample(catalogue.build_indicator("rsi").output(), "1w").output(), inputs, times)[:, 0]
    mondays = np.flatnonzero(np.diff(times).astype("timedelta64[D]").astype(int) > 1) + 1
    np.testing.assert_allclose(found[mondays], expected[: len(mondays)], rtol=1e-12)


def test_a_symbol_keeps_the_value_of_its_own_last_coarse_bar() -> None:
    """A symbol that missed a week shows, when it comes back, the week it had last."""
    times = daily(20)
    inputs = market(times)
    inputs = {name: values.copy() for name, values in inputs.items()}
    for values in inputs.values():
        values[4:9, 1] = np.nan
    found = batch(resample(Input("close"), "1w").output(), inputs, times)
    assert np.isnan(found[4:9, 1]).all()
    assert found[9, 1] == inputs["close"][3, 1]
    assert found[9, 0] == inputs["close"][8, 0]


@pytest.mark.parametrize(
    ("period", "moment", "end"),
    [
        ("15m", "2020-02-28T23:50", "2020-02-29"),
        ("15m", "2020-02-29", "2020-02-29"),
        ("4h", "2020-02-29T00:00:01", "2020-02-29T04"),
        ("1w", "2020-03-01T21:00", "2020-03-02"),
        ("1w", "2020-03-02", "2020-03-02"),
        ("1w", "2020-03-02T00:01", "2020-03-09"),
        ("1M", "2020-02-29T21:00", "2020-03-01"),
        ("1M", "2020-03-01", "2020-03-01"),
        ("3M", "2020-11-05", "2021-01-01"),
        ("12M", "1969-12-31T23:00", "1970-01-01"),
        ("1w", "1969-12-31T23:00", "1970-01-05"),
    ],
)
def test_periods_end_by_the_calendar(period: str, moment: str, end: str) -> None:
    """The end of the period of a moment, with the end itself inside, before 1970 too."""
    found = Period.of(period).ends(np.array([moment], dtype="datetime64[ns]"))
    assert found[0] == np.datetime64(end, "ns")


@pytest.mark.parametrize("period", ["", "w", "0d", "1y", "-1d", "1.5h", "1 w", "99999d", "١d", "d1"])
def test_what_is_no_period_is_refused(period: str) -> None:
    """A period that there is not is named, with the ones there are."""
    with pytest.raises(InputError, match="is no period"):
        resample(Input("close"), period)


def test_lookback_and_nature_follow_the_column() -> None:
    """Looks back as many periods as the column and one more; exact and cross as the column is."""
    week = Resample(catalogue.build_indicator("rolling_rank", named={"length": 4}).output(), 1, "w")
    assert week.lookback == 35 and week.exact and not week.cross
    assert Resample(catalogue.build_indicator("universe_return").output(), 1, "w").cross
    one, other = (resample(Input("close"), period).key for period in ("1w", "2w"))
    assert one != other
