"""Prices and adjustment step together: splits, recorded splits that did not happen, and true moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import BARS_SCHEMA, Bar, to_datetime
from alphaloop.errors import DataError
from marketdata.calendars import session_closes
from marketdata.quality.checks import Finding, check_bars
from marketdata.quality.cleaning import Policies, clean_bars
from marketdata.sources.registry import find_source

COUNT, AT = 120, 90
PRICES = ("open", "high", "low", "close")
CLOSES = session_closes(date(2019, 1, 2), date(2019, 12, 31))[:COUNT]
Columns = dict[str, np.ndarray]


def bars(scale: float = 0.01, seed: int = 5) -> Columns:
    """Columns of 120 daily bars with returns of `scale` a day and open, high and low to match."""
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(scale * random.standard_normal(COUNT)))
    opened = np.r_[50, close[:-1]] * np.exp(0.3 * scale * random.standard_normal(COUNT))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(0.3 * scale),
        "low": np.minimum(opened, close) * np.exp(-0.3 * scale),
        "close": close,
        "volume": random.uniform(1e6, 2e6, COUNT),
        "adjustment": np.ones(COUNT),
    }


def as_table(columns: Columns) -> pa.Table:
    """The columns as bars of the symbol X."""
    stamps = pa.array(CLOSES[: len(columns["close"])]).cast(pa.timestamp("ns", tz="UTC"))
    symbols = pa.array(["X"] * len(stamps))
    made = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    return pa.table({"symbol": symbols, "timestamp": stamps, **made}).select(BARS_SCHEMA.names)


def found(columns: Columns, *rules: str) -> list[tuple[int, str]]:
    """Place and severity of each finding of these rules (all, if none is named)."""
    places = {to_datetime(moment).isoformat(): place for place, moment in enumerate(CLOSES)}
    findings: list[Finding] = check_bars(as_table(columns), "XNYS")
    return [(places[one.timestamp], one.severity) for one in findings if not rules or one.rule in rules]


def times(columns: Columns, factor: float, rows: slice, *names: str) -> None:
    """Multiply columns in these rows."""
    for name in names or PRICES:
        columns[name][rows] *= factor


def without_adjustment(source: str) -> pa.Table:
    """The bars of a source as if no corporate action were recorded."""
    table = find_source(source).history()
    place = table.schema.get_field_index("adjustment")
    return table.set_column(place, table.schema.field(place), pa.array(np.ones(table.num_rows)))


def test_the_known_splits_of_real_bars_are_found_and_no_others() -> None:
    """The three splits of the embedded stocks are errors; Apple's true halving in 2000 is not."""
    findings = check_bars(without_adjustment("us-tech-ohlcv"), "XNYS")
    splits = [(one.symbol, one.timestamp[:10], one.severity) for one in findings if one.rule == "split"]
    assert splits == [
        ("AAPL", "2000-06-21", "error"),
        ("AAPL", "2005-02-28", "error"),
        ("MSFT", "2003-02-18", "error"),
    ]


@pytest.mark.parametrize("ratio", [2, 5 / 2, 7, 9, 1 / 12, 1 / 30])
@pytest.mark.parametrize("scale", [0.01, 0.06])
def test_a_split_is_found_on_a_day_of_usual_moves(scale: float, ratio: float) -> None:
    """Prices that open at 1:ratio and move by 1.5 scales that day are a split, in calm and wild series."""
    columns = bars(scale)
    times(columns, 1 / ratio, slice(AT, None))
    times(columns, ratio, slice(AT, None), "volume")
    columns["open"][AT] = columns["close"][AT - 1] / ratio
    columns["close"][AT:] *= columns["open"][AT] * np.exp(1.5 * scale) / columns["close"][AT]
    columns["high"] = np.maximum(columns["high"], columns["close"])
    columns["low"] = np.minimum(columns["low"], columns["close"])
    assert found(columns, "split") == [(AT, "error")]


@pytest.mark.parametrize(
    ("move", "opens", "busy"),
    [
        # As UP100 and Apple on 2000-09-29: it opens off the ratio, or is traded at a multiple of the usual.
        (0.97, 0.87, 1.0),
        (-0.45, -0.40, 1.0),
        (-0.50, -0.50, 12.0),
        (1.00, 0.99, 15.0),
        # It opens there, and goes on through the day.
        (-0.62, -0.50, 1.0),
    ],
)
def test_true_moves_are_no_splits(move: float, opens: float, busy: float) -> None:
    """A move that opens off the ratio, goes on, or is traded at a multiple of the usual is no error."""
    columns = bars(0.02)
    before = columns["close"][AT - 1]
    times(columns, before * (1 + move) / columns["close"][AT], slice(AT, None))
    columns["open"][AT] = before * (1 + opens)
    columns["high"][AT] = max(columns["open"][AT], columns["close"][AT]) * 1.01
    columns["low"][AT] = min(columns["open"][AT], columns["close"][AT]) * 0.99
    times(columns, busy, slice(AT, AT + 1), "volume")
    assert "error" not in [severity for _, severity in found(columns)]


def test_an_adjustment_that_wavers_by_rounding_hides_no_split() -> None:
    """Recorded means by about the ratio: a factor that changes in its fourth digit records nothing."""
    columns = bars()
    times(columns, 0.5, slice(AT, None))
    columns["adjustment"] = np.round(columns["close"] * 0.93, 2) / columns["close"]
    assert np.all(np.diff(columns["adjustment"]) != 0)
    assert found(columns, "split") == [(AT, "error")]


@pytest.mark.parametrize(
    ("price", "factor"),
    [
        # Not in the prices, by a split's ratio, a reverse split's and a dividend's.
        (1.0, 2.0),
        (1.0, 1.5),
        (1.0, 0.1),
        (1.0, 1.12),
        # The other way round, and by another ratio.
        (0.5, 0.5),
        (2 / 3, 2.0),
        (0.5, 4.0),
    ],
)
def test_an_adjustment_step_is_in_the_prices(price: float, factor: float) -> None:
    """A recorded step that the prices do not show, or show otherwise, is an error on its day."""
    columns = bars()
    times(columns, price, slice(AT, None))
    times(columns, factor, slice(AT, None), "adjustment")
    assert found(columns, "split") == [(AT, "error")]


def test_an_adjustment_step_is_seen_where_only_closes_are_given() -> None:
    """Without open, high and low, a factor that comes a bar late is an error, too."""
    columns = bars()
    times(columns, 0.25, slice(AT, None))
    times(columns, 4.0, slice(AT + 1, None), "adjustment")
    for name in ("open", "high", "low", "volume"):
        columns[name][:] = np.nan
    assert found(columns, "split") == [(AT, "warning"), (AT + 1, "error")]


@pytest.mark.parametrize(
    ("price", "factor"), [(0.5, 2.0), (10.0, 0.1), (0.93, 1 / 0.93), (0.5 * 1.06, 2.0), (0.999, 1.001)]
)
def test_what_is_recorded_and_in_the_prices_is_no_finding(price: float, factor: float) -> None:
    """Splits and dividends that prices and adjustment agree about are none, on a day of 6 % too."""
    columns = bars()
    times(columns, price, slice(AT, None))
    times(columns, factor, slice(AT, None), "adjustment")
    assert found(columns, "split") == []


def bad_close(columns: Columns) -> None:
    times(columns, 0.5, slice(AT, AT + 1), "close", "low")


def bad_bar(columns: Columns) -> None:
    times(columns, 0.01, slice(AT, AT + 1))


def bad_factor(columns: Columns) -> None:
    times(columns, 2.0, slice(AT, AT + 1), "adjustment")


def two_bad_bars(columns: Columns) -> None:
    times(columns, 3.1, slice(AT, AT + 1))
    times(columns, 0.13, slice(AT + 1, AT + 2))


@pytest.mark.parametrize(
    ("spoil", "count"), [(bad_close, 1), (bad_bar, 1), (bad_factor, 1), (two_bad_bars, 2)]
)
@pytest.mark.parametrize("scale", [0.01, 0.04])
def test_a_bad_bar_sets_itself_aside_and_not_its_neighbours(
    spoil: Callable[[Columns], None], count: int, scale: float
) -> None:
    """The return out of a bad bar is no finding: quarantine takes that bar, and the rest is clean."""
    columns = bars(scale)
    spoil(columns)
    table = as_table(columns)
    policies = Policies({"outlier": "quarantine", "split": "quarantine"})
    cleaned = clean_bars(table, "XNYS", "bars", policies)
    aside = cleaned.quarantined["timestamp"].to_numpy().tolist()
    assert aside == CLOSES[AT : AT + count].astype(np.int64).tolist()
    assert [one.rule for one in check_bars(cleaned.table, "XNYS")] == ["gap"] * count


@pytest.mark.parametrize("factor", [10.0, 0.01])
def test_a_bad_bar_goes_by_the_policy_of_one_of_its_rules(factor: float) -> None:
    """A misplaced decimal point is outlier and split; a policy for outliers takes that bar, and no more."""
    columns = bars()
    times(columns, factor, slice(AT, AT + 1))
    assert {one.rule for one in check_bars(as_table(columns), "XNYS")} == {"outlier", "split"}
    cleaned = clean_bars(as_table(columns), "XNYS", "bars", Policies({"outlier": "quarantine"}))
    assert cleaned.table.num_rows == COUNT - 1
    assert cleaned.quarantined["rule"].to_pylist() == ["outlier; split"]
    with pytest.raises(DataError, match=r"\[split\]"):
        clean_bars(as_table(columns), "XNYS", "bars", Policies({"outlier": "quarantine", "split": "reject"}))


def test_a_split_is_not_taken_for_a_bad_bar() -> None:
    """Setting outliers aside does not let a split pass: the bar after it is held against the one before."""
    columns = bars()
    times(columns, 0.5, slice(AT, None))
    with pytest.raises(DataError, match=r"after repairs: \[split\]"):
        clean_bars(as_table(columns), "XNYS", "bars", Policies({"outlier": "quarantine"}))


def test_a_true_move_that_is_set_aside_takes_its_day_alone() -> None:
    """Where outliers are set aside, a halving that stays takes its own bar, and the next is no split."""
    columns = bars(0.02)
    times(columns, 0.5, slice(AT, None))
    times(columns, 12.0, slice(AT, AT + 1), "volume")
    columns["high"][AT : AT + 2] *= 1.2
    columns["low"][AT + 1] *= 0.9
    columns["open"][AT], columns["open"][AT + 1] = columns["close"][AT] * 1.1, columns["close"][AT]
    cleaned = clean_bars(as_table(columns), "XNYS", "bars", Policies({"outlier": "quarantine"}))
    assert cleaned.quarantined["timestamp"].to_numpy().tolist() == [CLOSES[AT].astype(np.int64)]
    assert cleaned.table.num_rows == COUNT - 1


def test_a_bar_after_one_without_a_price_is_held_against_the_last_that_has_one() -> None:
    """A split on the day after a close of NaN or zero is found as any other."""
    for absent in (np.nan, 0.0):
        columns = bars()
        times(columns, 0.5, slice(AT, None))
        columns["close"][AT - 1] = absent
        assert (AT, "error") in found(columns, "split")


def test_a_level_that_stays_is_found_where_it_begins_and_ends() -> None:
    """Pence for pounds over three days are an error on the first of them and on the day after the last."""
    columns = bars()
    times(columns, 0.01, slice(AT, AT + 3))
    assert found(columns, "split") == [(AT, "error"), (AT + 3, "error")]


@pytest.mark.parametrize("digits", [np.float64, np.float32])
def test_rounding_is_no_contradiction_of_prices(digits: type) -> None:
    """A high below the close by the last digit of a float64 or float32 is rounding; a thousandth is not."""
    columns = bars()
    below = float(np.nextafter(digits(columns["close"][AT]), digits(0)))
    columns["open"][AT], columns["high"][AT] = below, below
    above = float(np.nextafter(digits(columns["close"][AT + 1]), digits(1e9)))
    columns["open"][AT + 1], columns["low"][AT + 1] = above, above
    assert found(columns, "ohlc") == []
    Bar("X", to_datetime(CLOSES[AT]), 1.0, high=float(np.nextafter(1.0, 0)), low=1.0)
    columns["high"][AT] *= 0.999
    assert found(columns, "ohlc") == [(AT, "error")]
    with pytest.raises(ValueError, match="is below low"):
        Bar("X", to_datetime(CLOSES[AT]), 1.0, high=0.999, low=1.0)


def test_a_contradiction_is_told_with_digits_that_show_it() -> None:
    """Two prices that differ in the seventh digit are printed so that they can be told apart."""
    columns = bars()
    columns["close"][AT], columns["high"][AT], columns["low"][AT] = 100.0004, 100.0001, 90.0
    columns["open"][AT] = 92.0
    told = [one.value for one in check_bars(as_table(columns), "XNYS") if one.rule == "ohlc"]
    assert told == ["high 100.0001 is below 100.0004 of its own bar"]
