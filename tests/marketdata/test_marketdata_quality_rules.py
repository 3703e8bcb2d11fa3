"""Each rule of quality, its fault planted into good bars, and what the rules do not take for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import BARS_SCHEMA, to_datetime
from alphaloop.errors import DataError, InputError
from marketdata.calendars import closes_of, open_time, session_closes
from marketdata.quality.checks import RULES, Finding, Thresholds, check_bars, findings_table

COUNT, AT = 120, 100
Change = Callable[[dict[str, np.ndarray]], None]


def bars(symbol: str = "KO", seed: int = 5, calendar: str = "XNYS") -> dict[str, np.ndarray]:
    """Columns of 120 good daily bars, 1 % a day."""
    closes = session_closes(date(2019, 1, 2), date(2019, 12, 31), calendar)[:COUNT]
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(0.01 * random.standard_normal(COUNT)))
    opened = close * np.exp(0.003 * random.standard_normal(COUNT))
    return {
        "symbol": np.array([symbol] * COUNT, dtype=object),
        "timestamp": closes,
        "open": opened,
        "high": np.maximum(opened, close) * 1.004,
        "low": np.minimum(opened, close) * 0.996,
        "close": close,
        "volume": random.uniform(1e6, 2e6, COUNT),
        "adjustment": np.ones(COUNT),
    }


def as_table(columns: dict[str, np.ndarray]) -> pa.Table:
    """Columns as a table of bars."""
    stamps = pa.array(columns["timestamp"]).cast(pa.timestamp("ns", tz="UTC"))
    others = {name: pa.array(values) for name, values in columns.items() if name != "timestamp"}
    names = [*BARS_SCHEMA.names, *(name for name in columns if name not in BARS_SCHEMA.names)]
    return pa.table({"timestamp": stamps, **others}).select(names)


def planted(change: Change) -> tuple[list[Finding], str]:
    """What is found after one change to good bars, and the time of the bar at `AT`."""
    columns = bars()
    assert check_bars(as_table(columns), "XNYS") == []
    change(columns)
    return check_bars(as_table(columns), "XNYS"), to_datetime(columns["timestamp"][AT]).isoformat()


def scaled(factor: float, *names: str, after: bool = False) -> Change:
    """Multiply columns at `AT`, and at every bar after it if asked to."""

    def change(columns: dict[str, np.ndarray]) -> None:
        rows = slice(AT, None if after else AT + 1)
        for name in names or ("open", "high", "low", "close"):
            columns[name][rows] *= factor

    return change


def stuck(columns: dict[str, np.ndarray]) -> None:
    for name in ("open", "high", "low", "close"):
        columns[name][AT : AT + 12] = columns["close"][AT]


def zero_volume(columns: dict[str, np.ndarray]) -> None:
    columns["volume"][AT : AT + 3] = 0


def disputed(columns: dict[str, np.ndarray]) -> None:
    columns["disputed"] = np.arange(COUNT) == AT
    columns["provider"] = np.array(["alpaca"] * COUNT, dtype=object)


@pytest.mark.parametrize(
    ("change", "rule", "severity", "words", "count"),
    [
        (scaled(0.98, "high"), "ohlc", "error", "of its own bar", 1),
        (scaled(1.006, "low"), "ohlc", "error", "of its own bar", 1),
        (stuck, "stuck", "warning", "for 12 bars in a row", 12),
        (scaled(1.3, after=True), "outlier", "warning", "times the scale of the bars before", 1),
        (scaled(1.3, "high"), "outlier", "warning", "high is from open and close +3", 1),
        (scaled(0.7, "low"), "outlier", "warning", "low is from open and close -3", 1),
        (scaled(1 / 7.4, after=True), "outlier", "error", "close moved by -86", 1),
        (scaled(0.5, after=True), "split", "error", "as in a 2:1 split", 1),
        (scaled(10, after=True), "split", "error", "as in a 1:10 split", 1),
        (scaled(2 / 3, after=True), "split", "warning", "as in a 3:2 split", 1),
        (zero_volume, "volume", "warning", "0 for 3 bars in a row", 3),
        (disputed, "disputed", "warning", "that of alpaca", 1),
    ],
)
def test_each_fault_is_found_with_its_row(
    change: Change, rule: str, severity: str, words: str, count: int
) -> None:
    """A planted fault is found by its rule, at its bar, with what was seen and how bad it is."""
    found, moment = planted(change)
    mine = [one for one in found if one.rule == rule]
    assert len(mine) == 1, found
    assert (mine[0].symbol, mine[0].timestamp, mine[0].severity) == ("KO", moment, severity)
    assert words in mine[0].value
    assert mine[0].bars == count
    # A split is an outlier too; nothing else is found besides.
    assert {one.rule for one in found} <= {rule, "outlier"}


def test_a_split_that_is_on_record_is_none() -> None:
    """With the adjustment doubled on the day, halved prices are neither split nor outlier."""

    def split(columns: dict[str, np.ndarray]) -> None:
        scaled(0.5, after=True)(columns)
        columns["adjustment"][AT:] = 2.0

    found, _ = planted(split)
    assert found == []


def test_the_scale_comes_from_the_past_alone() -> None:
    """Whatever follows a bar, it is judged the same: later bars change no finding before them."""
    columns = bars()
    scaled(1.3, after=True)(columns)
    before = check_bars(as_table({name: values[: AT + 1] for name, values in columns.items()}), "XNYS")
    random = np.random.default_rng(8)
    for name in ("open", "high", "low", "close"):
        columns[name][AT + 1 :] *= np.exp(random.standard_normal(COUNT - AT - 1))
    after = [one for one in check_bars(as_table(columns), "XNYS") if one.rule == "outlier"]
    assert before
    assert after[: len(before)] == before


def test_a_volatile_market_has_no_outliers() -> None:
    """What is far for one symbol is usual for another: 8 % a day throughout gives no finding."""
    random = np.random.default_rng(2)
    columns = bars()
    close = 50 * np.exp(np.cumsum(0.08 * random.standard_normal(COUNT)))
    columns |= {name: close.copy() for name in ("open", "high", "low", "close")}
    assert check_bars(as_table(columns), "XNYS") == []


def test_thresholds_decide() -> None:
    """A threshold changes what is found, and one that makes no sense is named."""
    columns = bars()
    scaled(1.3, after=True)(columns)
    strict = check_bars(as_table(columns), "XNYS", Thresholds(outlier_scales=2.0, outlier_error_scales=10.0))
    assert {"error", "warning"} == {one.severity for one in strict}
    assert check_bars(as_table(columns), "XNYS", Thresholds(outlier_scales=90.0)) == []
    with pytest.raises(InputError, match="'stuck_bars' is 0"):
        Thresholds(stuck_bars=0)


def test_stale_feeds_are_told_by_the_market_s_time() -> None:
    """Over a weekend nothing is stale; three sessions without a bar and more are, with symbol and bar."""
    table = as_table(bars()).slice(0, COUNT - 1)
    last = table["timestamp"][-1].as_py().to_pydatetime()
    assert last.strftime("%A") == "Friday"
    assert check_bars(table, "XNYS", now=last + timedelta(days=5)) == []
    found = check_bars(table, "XNYS", now=last + timedelta(days=7))
    assert [(one.rule, one.symbol, one.timestamp) for one in found] == [("stale", "KO", last.isoformat())]
    assert "open for 5.0 bars" in found[0].value


def test_bars_from_the_future_and_clocks_that_differ_are_found() -> None:
    """A bar that closes after now is skewed, and so is a venue whose clock is a minute and more away."""
    table = as_table(bars())
    last = table["timestamp"][-1].as_py().to_pydatetime()
    found = check_bars(table, "XNYS", now=last - timedelta(minutes=5))
    assert [(one.rule, one.timestamp) for one in found] == [("skew", last.isoformat())]
    assert "300 s after our clock" in found[0].value
    assert check_bars(table, "XNYS", now=last - timedelta(seconds=30)) == []
    for away, words in ((90, "90 s ahead of ours"), (-90, "90 s behind ours"), (30, "")):
        told = check_bars(table, "XNYS", now=last, venue_now=last + timedelta(seconds=away))
        assert [one.rule for one in told] == (["skew"] if words else [])
        assert not words or words in told[0].value


def hourly(hours: np.ndarray, symbol: str = "X") -> pa.Table:
    """Hourly bars at these closes."""
    close = 50 * np.exp(np.cumsum(0.001 * np.random.default_rng(1).standard_normal(len(hours))))
    columns = {name: close.copy() for name in ("open", "high", "low", "close")}
    columns |= {"symbol": np.array([symbol] * len(hours), dtype=object), "timestamp": hours}
    return as_table({**columns, "volume": np.ones(len(hours)), "adjustment": np.ones(len(hours))})


def forex_hours() -> np.ndarray:
    """The closes of all hours from 6 to 17 March 2017, weekend closed, over a change to summer time."""
    all_hours = np.datetime64("2017-03-06T01", "ns") + np.arange(11 * 24 + 20) * np.timedelta64(1, "h")
    opened = open_time(np.r_[all_hours[0] - np.timedelta64(1, "h"), all_hours], "24/5")
    return all_hours[np.diff(opened) > 0]


def test_the_forex_week_ends_on_friday_at_five_in_new_york() -> None:
    """A weekend is no gap, across summer time too; a missing hour is one, and Saturday is closed."""
    hours = forex_hours()
    assert check_bars(hourly(hours), "24/5") == []
    missing = check_bars(hourly(np.delete(hours, [30, 31, 32])), "24/5")
    assert [(one.rule, one.severity, one.value) for one in missing] == [
        ("gap", "warning", "3 bars are missing after this one")
    ]
    saturday = np.sort(np.r_[hours, np.datetime64("2017-03-11T12", "ns")])
    assert [(one.rule, one.timestamp[:13]) for one in check_bars(hourly(saturday), "24/5")] == [
        ("calendar", "2017-03-11T12")
    ]
    long = check_bars(hourly(np.delete(hours, np.arange(30, 70))), "24/5")
    assert [(one.rule, one.severity) for one in long] == [("gap", "error")]
    ends = closes_of([date(2017, 3, 10), date(2017, 3, 13)], "24/5")
    assert [str(end)[:16] for end in ends] == ["2017-03-10T22:00", "2017-03-13T21:00"]


def test_intraday_bars_of_an_exchange_keep_its_sessions() -> None:
    """Hours of New York have no gap overnight; one without a bar is a gap, one on a holiday out of hours."""
    closes = session_closes(date(2019, 7, 1), date(2019, 7, 10))
    hours = np.sort(np.concatenate([closes - count * np.timedelta64(1, "h") for count in range(4)]))
    hours = hours[open_time(hours, "XNYS") - open_time(hours - np.timedelta64(1, "h"), "XNYS") > 0]
    full = [one for one in check_bars(hourly(hours), "XNYS") if one.rule == "calendar"]
    assert full == []
    holiday = np.sort(np.r_[hours, np.datetime64("2019-07-04T18", "ns")])
    found = [one for one in check_bars(hourly(holiday), "XNYS") if one.rule == "calendar"]
    assert [one.timestamp[:13] for one in found] == ["2019-07-04T18"]


def test_other_exchanges_have_their_own_sessions() -> None:
    """London trades on the fourth of July and not on its own bank holiday."""
    columns = bars(calendar="XLON")
    assert check_bars(as_table(columns), "XLON") == []
    rules = {one.rule for one in check_bars(as_table(columns), "XNYS")}
    assert {"calendar", "gap"} <= rules


def test_further_columns_are_checked_by_type() -> None:
    """A provider that is no text, a disputed that is no truth value and an extra text are of the schema."""
    columns = bars()
    table = as_table({**columns, "sentiment": np.ones(COUNT), "provider": np.array(["a"] * COUNT, object)})
    assert check_bars(table, "XNYS") == []
    for name, values in (
        ("provider", np.ones(COUNT)),
        ("disputed", np.ones(COUNT)),
        ("note", columns["symbol"]),
    ):
        found = check_bars(as_table({**columns, name: values}), "XNYS")
        assert [one.rule for one in found] == ["schema"]
        assert name in found[0].value


def test_findings_are_rows() -> None:
    """Findings make a table with a row each, and every rule that gives one is listed."""
    columns = bars()
    zero_volume(columns)
    found = check_bars(as_table(columns), "XNYS")
    rows = findings_table(found).to_pylist()
    assert [(row["rule"], row["symbol"], row["severity"], row["bars"]) for row in rows] == [
        ("volume", "KO", "warning", 3)
    ]
    assert findings_table([]).num_rows == 0
    assert len(RULES) == len(set(RULES)) == 17


def test_times_outside_of_every_calendar_are_a_data_error() -> None:
    """A bar of the year 1700 is an error in one line, not an exception of a library."""
    columns = bars()
    columns["timestamp"] = columns["timestamp"].copy()
    columns["timestamp"][0] = np.datetime64("1700-01-02T21", "ns")
    with pytest.raises(DataError, match="1700"):
        check_bars(as_table(columns), "XNYS")
    assert to_datetime(bars()["timestamp"][0]) == datetime(2019, 1, 2, 21, tzinfo=UTC)
