"""Sessions, days and weeks are those of the bars' calendar, in features, in dates and in rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from alphaloop import bars as market
from alphaloop.bars import BarPanel
from alphaloop.settings.settings import Settings
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.feature_set import FeatureSet
from features.notebook import bars as notebook_bars
from marketdata import calendars
from marketdata.calendars import open_time, session_predicate
from marketdata.configured_source import chosen_start
from marketdata.quality import checks
from marketdata.quality.checks import Thresholds, check_bars
from marketdata.source import bars_table
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore

HOUR = np.timedelta64(1, "h")


def panel(times: Sequence[np.datetime64] | np.ndarray, calendar: str = "", seed: int = 3) -> BarPanel:
    """Bars of one symbol at these closes; volumes are whole numbers."""
    times = np.asarray(times, dtype="datetime64[ns]")
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, len(times))))
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    columns |= {
        "volume": random.integers(1, 1000, len(times)).astype(float),
        "adjustment": np.ones(len(times)),
    }
    table = bars_table("X", times, columns)
    return BarPanel.from_table(market.with_calendar(table, calendar) if calendar else table)


def feature(bars: BarPanel, formula: str) -> np.ndarray:
    """One feature of the only symbol at every bar."""
    return backfill(bars, FeatureSet((f"it = {formula}",))).values[:, 0, 0]


def streamed(bars: BarPanel, formula: str, history: int) -> np.ndarray:
    """The same, bar by bar after `history` bars; NaN before."""
    chosen = FeatureSet((f"it = {formula}",))
    past = bars.between(end=bars.at(history - 1).timestamp)
    stream = FeatureStream(chosen, bars.symbols, past)
    rows = [stream.update(bars.at(row))[0, 0] for row in range(history, len(bars))]
    return np.r_[np.full(history, np.nan), rows]


def local_hours(zone: str, first: str, last: str, opens: int, closes: int) -> tuple[np.ndarray, np.ndarray]:
    """Closes of the hours from `opens` to `closes` in a zone on weekdays, and the local day of each."""
    days = pd.bdate_range(first, last)
    local = [day + pd.Timedelta(hours=hour) for day in days for hour in range(opens + 1, closes + 1)]
    times = pd.DatetimeIndex(local).tz_localize(zone).tz_convert("UTC").tz_localize(None)
    return times.to_numpy().astype("datetime64[ns]"), np.repeat(days.to_numpy(), closes - opens)


@pytest.mark.parametrize("calendar", ["XASX", ""])
def test_sydneys_session_begins_with_its_first_bar(calendar: str) -> None:
    """The session's average price begins anew at ten in Sydney, 23:00 in UTC, with a calendar and without."""
    exchange = exchange_calendars.get_calendar("XASX", start="2024-01-01", end="2024-02-28")
    opens = exchange.opens.dt.tz_localize(None).to_numpy()[:20].astype("datetime64[ns]")
    times = (opens[:, None] + np.arange(1, 7) * HOUR).ravel()
    bars = panel(times, calendar)
    typical = ((bars.high + bars.low + bars.close) / 3)[:, 0]
    money = np.cumsum((typical * bars.volume[:, 0]).reshape(20, 6), axis=1)
    expected = (money / np.cumsum(bars.volume[:, 0].reshape(20, 6), axis=1)).ravel()
    found = feature(bars, 'anchored_vwap("session")')
    skipped = 0 if calendar else 6  # The first session of a market without a calendar began before its bars.
    np.testing.assert_allclose(found[skipped:], expected[skipped:], rtol=1e-6)


@pytest.mark.parametrize("calendar", ["XNYS", ""])
def test_late_trading_in_winter_belongs_to_its_day(calendar: str) -> None:
    """Bars up to 20:00 in New York, 01:00 in UTC, are of the day that began at 04:00 there: range and volume
    of the day before are those of all sixteen hours.
    """
    times, _ = local_hours("America/New_York", "2024-01-16", "2024-02-09", 4, 20)
    bars = panel(times, calendar)
    whole = bars.volume[:, 0].reshape(-1, 16).sum(axis=1)
    found = feature(bars, "volume @ 1d").reshape(-1, 16)
    np.testing.assert_array_equal(found[1:, 0], whole[:-1].astype(np.float32))
    top = bars.high[:, 0].reshape(-1, 16).max(axis=1)
    middle = (top + bars.low[:, 0].reshape(-1, 16).min(axis=1) + bars.close[:, 0].reshape(-1, 16)[:, -1]) / 3
    pivots = feature(bars, 'pivot_points("day").pivot').reshape(-1, 16)
    np.testing.assert_allclose(pivots[1:], np.repeat(middle[:-1, None], 16, axis=1), rtol=1e-6)


def test_a_day_is_complete_with_the_close_of_its_session() -> None:
    """Where no bar is later than the session's close, the day's value is there at that bar, on half days too,
    and the week's on its last session.
    """
    exchange = exchange_calendars.get_calendar("XNYS", start="2019-06-03", end="2019-07-31")
    closes = exchange.closes.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    times = np.sort(np.concatenate([closes - count * HOUR for count in range(4)]))
    bars = panel(times, "XNYS")
    found, last = feature(bars, "close @ 1d"), np.isin(times, closes)
    np.testing.assert_array_equal(found[last], bars.close[last, 0].astype(np.float32))
    weeks = feature(panel(closes, "XNYS"), "close @ 1w")
    close = panel(closes, "XNYS").close[:, 0].astype(np.float32)
    ends = [
        row
        for row, one in enumerate(exchange.sessions)
        if row + 1 == len(closes) or exchange.sessions[row + 1].isocalendar().week != one.isocalendar().week
    ]
    np.testing.assert_array_equal(weeks[ends[:-1]], close[ends[:-1]])
    assert str(closes[ends[0]])[:10] == "2019-06-07"
    np.testing.assert_array_equal(weeks[ends[0] : ends[1]], np.full(ends[1] - ends[0], close[ends[0]]))


def test_foreign_exchange_has_five_days_a_week() -> None:
    """A day of foreign exchange ends at 17:00 in New York: five a week, complete with their last hour."""
    hours = np.datetime64("2017-03-05T23", "ns") + np.arange(14 * 24) * HOUR  # Over a change to summer time.
    opened = open_time(np.r_[hours[0] - HOUR, hours], "24/5")
    times = hours[np.diff(opened) > 0]
    bars = panel(times, "24/5")
    local = pd.DatetimeIndex(times, tz="UTC").tz_convert("America/New_York")
    ends = np.flatnonzero(local.hour == 17)
    assert len(ends) == 10
    found = feature(bars, "volume @ 1d")
    volume = bars.volume[:, 0]
    whole = [volume[start:end].sum() for start, end in zip([0, *(ends[:-1] + 1)], ends + 1, strict=True)]
    np.testing.assert_array_equal(found[ends], np.array(whole, dtype=np.float32))
    fridays = ends[local[ends].dayofweek == 4]
    weeks = feature(bars, "volume @ 1w")
    np.testing.assert_array_equal(weeks[fridays], np.float32([sum(whole[:5]), sum(whole[5:])]))


@pytest.mark.parametrize("early", [1_000_000, 1, 1_000_000_000], ids=["1 ms", "1 ns", "1 s"])
@pytest.mark.parametrize("formula", ["close @ 1d", "close @ 4h", 'anchored_vwap("week")', "close @ 1w"])
def test_closes_in_the_last_second_are_those_of_the_minute(early: int, formula: str) -> None:
    """Bars that close at 59.999 give what bars at 00:00 give, at the same bars."""
    times = np.datetime64("2021-01-01", "ns") + np.arange(1, 24 * 16 + 1) * HOUR
    whole = feature(panel(times, "24/7"), formula)
    np.testing.assert_array_equal(feature(panel(times - np.timedelta64(early, "ns"), "24/7"), formula), whole)
    assert np.isfinite(whole).sum() > 100


@pytest.mark.parametrize(
    ("calendar", "zone", "opens", "closes"),
    [
        ("XNYS", "America/New_York", 4, 20),
        ("XNYS", "America/New_York", 10, 16),
        ("XASX", "Australia/Sydney", 10, 16),
        ("", "Australia/Sydney", 10, 16),
    ],
)
@pytest.mark.parametrize(
    "formula", ["volume @ 1d", "sma(close, 3) @ 1w", 'anchored_vwap("session")', 'pivot_points("week").pivot']
)
def test_stream_and_backfill_count_the_same_days(
    calendar: str, zone: str, opens: int, closes: int, formula: str
) -> None:
    """Bar by bar the values are those of the backfill, bit for bit, wherever the stream begins."""
    times, _ = local_hours(zone, "2024-01-29", "2024-02-16", opens, closes)
    bars = panel(times, calendar)
    whole = feature(bars, formula)
    for history in (6 * (closes - opens), 6 * (closes - opens) + 3):
        found = streamed(bars, formula, history)
        np.testing.assert_array_equal(found[history:], whole[history:])


def test_no_value_depends_on_a_later_bar() -> None:
    """Late trading that begins in the middle changes nothing before it."""
    regular, _ = local_hours("America/New_York", "2024-01-16", "2024-01-26", 10, 16)
    late, _ = local_hours("America/New_York", "2024-01-29", "2024-02-09", 10, 20)
    times = np.r_[regular, late]
    bars = panel(times, "XNYS")
    for formula in ("volume @ 1d", "volume @ 1w", 'anchored_vwap("session")'):
        whole = feature(bars, formula)
        for count in (len(regular), len(regular) + 7, len(regular) + 13):
            part = feature(bars.between(end=bars.at(count - 1).timestamp), formula)
            np.testing.assert_array_equal(part, whole[:count], formula)


def test_the_calendar_goes_with_the_bars(tmp_path: Path) -> None:
    """From source to snapshot to panel the calendar is known, and parts of a panel keep it."""
    table = find_source("eurusd-1h").history(())
    assert market.calendar_of(table) == "24/5"
    store = SnapshotStore(tmp_path)
    saved = store.save(table.slice(0, 100), "eurusd-1h")
    later = store.append(saved.id, BarPanel.from_table(table.slice(100, 20)).to_table())
    loaded = BarPanel.from_table(SnapshotStore(tmp_path).load(later.id))
    assert loaded.calendar == "24/5"
    assert loaded.between(end=loaded.at(5).timestamp).select(loaded.symbols).calendar == "24/5"
    assert notebook_bars("eurusd-1h", end="2017-01-10", frequency="1h").calendar == "24/5"


def test_a_snapshot_from_before_has_its_sources_calendar(tmp_path: Path) -> None:
    """A snapshot whose header names no calendar has that of the source it is of."""
    store = SnapshotStore(tmp_path)
    table = find_source("eurusd-1h").history(()).slice(0, 50)
    assert store.save(table.replace_schema_metadata(None), "eurusd-1h").calendar == ""
    from marketdata.storage.snapshots import _snapshot  # What a header without the key is read as.

    header = {"parent": None, "source": "eurusd-1h", "rows": 50}
    header |= {"first": "2017-01-01T23:00:00+00:00", "last": "2017-01-04T00:00:00+00:00"}
    assert _snapshot("id", header, tmp_path).calendar == "24/5"


@pytest.mark.parametrize(
    ("calendar", "day", "first", "last"),
    [
        ("24/7", "2021-01-01", "2021-01-01T00:00", "2021-01-02T00:00"),
        ("24/5", "2021-03-15", "2021-03-14T21:00", "2021-03-15T21:00"),
        ("XNYS", "2021-03-12", "2021-03-12T05:00", "2021-03-13T05:00"),
        ("XASX", "2021-01-04", "2021-01-03T13:00", "2021-01-04T13:00"),
        ("CMES", "2021-03-16", "2021-03-15T22:00", "2021-03-16T22:00"),
    ],
)
def test_a_day_is_one_of_the_market(calendar: str, day: str, first: str, last: str) -> None:
    """A day begins after the end of the one before: midnight in Sydney, 17:00 in New York or Chicago."""
    begins, ends = calendars.day_span(date.fromisoformat(day), calendar)
    assert begins == datetime.fromisoformat(first).replace(tzinfo=UTC) + timedelta(microseconds=1)
    assert ends == datetime.fromisoformat(last).replace(tzinfo=UTC)
    edges = np.array([first, last], dtype="datetime64[ns]") + np.array([1, 0])
    assert [str(one) for one in calendars.days_of(edges, calendar)] == [day, day]


def resting(name: str, first: str, last: str) -> np.ndarray:
    """The closes of all minutes of an exchange's sessions, without its breaks."""
    exchange = exchange_calendars.get_calendar(name, start="2024-01-01", end="2024-12-31")
    chosen = exchange.schedule.loc[first:last].apply(lambda column: column.dt.tz_localize(None))
    stretches = [
        pair
        for one in chosen.itertuples()
        for pair in (
            [(one.open, one.close)]
            if pd.isna(one.break_start)
            else [(one.open, one.break_start), (one.break_end, one.close)]
        )
    ]
    minutes = [pd.date_range(begin, end, freq="min")[1:] for begin, end in stretches]
    return np.concatenate([part.to_numpy() for part in minutes]).astype("datetime64[ns]")


@pytest.mark.parametrize("name", ["XSHG", "XHKG", "XTKS"])
def test_a_rest_over_noon_is_no_gap_and_bars_in_it_are_told(name: str) -> None:
    """Minutes around noon lack nothing; a minute that is missing is told, and a bar within the break too."""
    times = resting(name, "2024-06-03", "2024-06-04")
    assert check_bars(panel(times).to_table(), name) == []
    gap = check_bars(panel(np.delete(times, 40)).to_table(), name)
    assert [(one.rule, one.value) for one in gap] == [("gap", "1 bar is missing after this one")]
    noon = times[np.flatnonzero(np.diff(times) > np.timedelta64(30, "m"))[0]] + np.timedelta64(20, "m")
    told = [
        one
        for one in check_bars(panel(np.sort(np.r_[times, noon])).to_table(), name)
        if one.rule == "calendar"
    ]
    assert [(one.severity, one.value) for one in told] == [
        ("warning", f"{name} rested over noon during this bar")
    ]


def test_nothing_is_stale_and_nothing_expected_over_noon() -> None:
    """At 12:20 in Tokyo the last bar of 11:30 is the newest there can be, and none is waited for."""
    times = resting("XTKS", "2024-06-03", "2024-06-03")
    morning = times[times <= np.datetime64("2024-06-03T02:30")]
    noon = datetime(2024, 6, 3, 3, 20, tzinfo=UTC)
    table = panel(morning).to_table()
    assert checks.check_bars(table, "XTKS", now=noon) == []
    assert [one.rule for one in checks.check_bars(table, "XTKS", now=noon + timedelta(minutes=15))] == [
        "stale"
    ]
    expects = session_predicate("XTKS")
    assert not expects(datetime(2024, 6, 3, 2, 30, tzinfo=UTC), noon)
    assert expects(datetime(2024, 6, 3, 2, 29, tzinfo=UTC), noon)


def test_days_of_foreign_exchange_have_no_weekend() -> None:
    """Daily bars of a Saturday and of a Sunday are errors; Monday to Friday are none."""
    ends = [np.datetime64(f"2020-03-{day:02}T{'22' if day < 8 else '21'}:00", "ns") for day in range(2, 21)]
    found = check_bars(panel(ends).to_table(), "24/5")
    assert [(one.rule, one.value) for one in found] == [
        ("calendar", f"2020-03-{day:02} is no session of 24/5") for day in (7, 8, 14, 15)
    ]


def test_holidays_are_named_by_the_day_of_the_market() -> None:
    """A bar of Australia Day is named by the day in Sydney, and not by that of UTC before."""
    times = np.array(
        ["2024-01-24T05", "2024-01-25T05", "2024-01-25T23:30", "2024-01-29T05"], "datetime64[ns]"
    )
    told = [one.value for one in check_bars(panel(times).to_table(), "XASX") if one.rule == "calendar"]
    assert told == ["2024-01-26 is no session of XASX"]


def test_features_whose_days_changed_have_another_hash() -> None:
    """What counts sessions, days or weeks is another feature than before; what does not is the same."""
    before = {
        'anchored_vwap("session")': "944b015d18f2b7c4de3b472f6b588df4ca53dfd59d4ef121a2f8b62ae19300f8",
        "pivot_points.pivot": "4f8b5289208cc5a3ecfaa3c6a8feadbdaff0763664a47a12e726fc5abcccba2c",
        "central_pivot_range.top": "be4bd3fa259c4fcbea24e81d37ba443cecd05e4ef69ff95ef92f758c0f59692f",
        "close @ 1w": "e898193a115c360e792505a148bd060aa2950da6341b1ebe8ef717fb0a65078a",
    }
    for formula, old in before.items():
        assert FeatureSet((f"it = {formula}",)).hash != old
    assert (
        FeatureSet(("it = rsi(14)",)).hash
        == "d96b9d3ca24cb906cad13cd8a9132475e8713f6f3efc6965135e841a23d4ec04"
    )


def test_days_without_a_calendar_are_those_of_utc_unless_trading_goes_over_midnight() -> None:
    """Round the clock, in New York's hours and of few bars, days end at midnight; in Sydney's they do not."""
    from marketdata.trading_days import TradingDays

    clock = np.datetime64("2024-01-01", "ns") + np.arange(1, 200) * HOUR
    regular, _ = local_hours("America/New_York", "2024-01-16", "2024-01-26", 10, 16)
    sydney, days = local_hours("Australia/Sydney", "2024-01-16", "2024-01-26", 10, 16)
    for times in (clock, regular, sydney[:6]):
        assert TradingDays.of(times).shift == np.timedelta64(0)
    np.testing.assert_array_equal(TradingDays.of(sydney).numbers(sydney), days.astype("datetime64[D]"))


@pytest.mark.parametrize(
    ("zone", "opens", "closes"), [("Australia/Sydney", 10, 16), ("America/New_York", 4, 20)]
)
@pytest.mark.parametrize("first", ["2024-03-25", "2024-09-23"])
def test_days_without_a_calendar_stand_a_change_of_the_clocks(
    zone: str, opens: int, closes: int, first: str
) -> None:
    """A session stays one day where the clocks change after the bars that its night was told by."""
    from marketdata.trading_days import TradingDays

    times, days = local_hours(zone, first, str(np.datetime64(first) + 60), opens, closes)
    np.testing.assert_array_equal(TradingDays.of(times).numbers(times), days.astype("datetime64[D]"))


def test_a_holiday_of_ones_own_is_as_long_as_its_sessions() -> None:
    """A day in Tokyo that is told to be a holiday is no gap, and a bar before its noon is told by its day."""
    times = resting("XTKS", "2024-06-03", "2024-06-05")
    days = times.astype("datetime64[D]")
    limits = Thresholds(holidays=("2024-06-04",))
    without = panel(times[days != np.datetime64("2024-06-04")]).to_table()
    assert check_bars(without, "XTKS", limits) == []
    early = times[(days != np.datetime64("2024-06-04")) | (times < np.datetime64("2024-06-04T00:03"))]
    told = [one for one in check_bars(panel(early).to_table(), "XTKS", limits) if one.rule == "calendar"]
    assert [one.value for one in told] == ["2024-06-04 is one of data.holidays"] * 2


def test_history_begins_with_the_first_day_of_the_calendar(tmp_path: Path) -> None:
    """`data.start` takes Sydney's session of that day, which opens on the evening before in UTC, and of a
    market round the clock no bar of the day before, which closes as the day begins.
    """
    first = np.datetime64("2021-01-03T23:30", "ns")
    for calendar, kept in (("XASX", first), ("24/7", np.datetime64("2021-01-04T00:00", "ns") + HOUR)):
        source = f"folder:{tmp_path}?calendar={calendar}"
        start = chosen_start(Settings.model_validate({"data": {"source": source, "start": "2021-01-04"}}))
        assert start is not None
        moments = (
            np.array([kept - HOUR, kept]) if calendar == "24/7" else np.array([first - 24 * HOUR, first])
        )
        after = moments > np.datetime64(start.replace(tzinfo=None), "ns")
        assert list(after) == [False, True]
