"""Stamps of bars in files of one's own: closes, openings, dates, and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import DataError, InputError
from features.notebook import frame_bars
from marketdata.calendars import session_closes
from marketdata.quality import checks
from marketdata.source import bars_table
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore

FIRST, LAST = date(2019, 2, 25), date(2019, 3, 22)
"""Four weeks over New York's change to summer time."""


def sessions_of(first: date, last: date, calendar: str = "XNYS") -> np.ndarray:
    """The days of a market's sessions; those of these markets close on their own day in UTC, too."""
    return session_closes(first, last, calendar).astype("datetime64[D]")


def sessions() -> tuple[list[str], list[str]]:
    """The days of New York's sessions, and when they close: 16:00 there, as UTC text."""
    days = [str(day) for day in sessions_of(FIRST, LAST)]
    hours = ["21:00" if day < "2019-03-10" else "20:00" for day in days]
    return days, [f"{day}T{hour}" for day, hour in zip(days, hours, strict=True)]


def closes_of_csv(folder: Path, stamps: Sequence[str], options: str = "") -> list[str]:
    """The closes that a CSV file with these stamps is read as, as UTC text."""
    folder.mkdir(exist_ok=True)
    rows = [f"{stamp},{100 + place % 7}" for place, stamp in enumerate(stamps)]
    (folder / "SPY.csv").write_text("\n".join(["date,close", *rows]) + "\n")
    return texts(find_source(f"folder:{folder}{options}").history(()))


def texts(table: pa.Table) -> list[str]:
    """Timestamps as UTC text to the minute."""
    return [str(one)[:16] for one in table["timestamp"].to_numpy()]


@pytest.mark.parametrize(
    "written",
    [
        lambda day: f"{day} 00:00:00-05:00" if day < "2019-03-10" else f"{day} 00:00:00-04:00",
        lambda day: f"{day}T05:00:00Z" if day < "2019-03-10" else f"{day}T04:00:00Z",
        lambda day: f"{day} 00:00:00+00:00",
        lambda day: f"{day} 00:00:00",
        lambda day: day,
    ],
    ids=["its own zone", "the exchange's midnight in UTC", "UTC", "no zone", "bare"],
)
def test_midnights_of_daily_bars_of_an_exchange_are_dates(tmp_path: Path, written: object) -> None:
    """Midnights, in whatever zone they are written, are the dates of their sessions, through summer time."""
    days, closes = sessions()
    assert closes_of_csv(tmp_path, [written(day) for day in days]) == closes  # type: ignore[operator]


def test_a_zone_that_is_told_makes_no_close_of_a_midnight(tmp_path: Path) -> None:
    """Midnights without a zone stay dates when the zone is given, as an error message may advise."""
    days, closes = sessions()
    stamps = [f"{day} 00:00:00" for day in days]
    assert closes_of_csv(tmp_path, stamps, "?timezone=America/New_York") == closes


def test_parquet_and_data_frames_follow_the_same_rule(tmp_path: Path) -> None:
    """A frame indexed by New York's midnights gives the same bars in a notebook and from Parquet."""
    days, closes = sessions()
    index = pd.DatetimeIndex(days).tz_localize("America/New_York")
    frame = pd.DataFrame({"close": np.arange(len(days)) + 100.0}, index=index.rename("Date"))
    frame.to_parquet(tmp_path / "SPY.parquet")
    assert texts(find_source(f"folder:{tmp_path}").history(())) == closes
    assert [str(one)[:16] for one in frame_bars(frame, "SPY").timestamps] == closes


def test_midnight_in_the_hours_of_trading_is_still_a_date(tmp_path: Path) -> None:
    """Midnight in UTC is eleven o'clock in Sydney, where daily bars close at 05:00 in UTC in summer."""
    days = [str(day) for day in sessions_of(date(2024, 1, 8), date(2024, 1, 19), "XASX")]
    found = closes_of_csv(tmp_path, [f"{day}T00:00:00Z" for day in days], "?calendar=XASX")
    assert found == [f"{day}T05:00" for day in days]


@pytest.mark.parametrize(("calendar", "frequency"), [("24/7", "1d"), ("24/5", "1d"), ("CMES", "1d")])
def test_midnights_are_refused_where_a_bar_may_close_then(
    tmp_path: Path, calendar: str, frequency: str
) -> None:
    """Where a market has no night, a midnight may be opening, close or date: the error names the ways out."""
    days = [str(day) for day in sessions_of(date(2021, 1, 4), date(2021, 1, 15), "24/5")]
    stamps = [f"{day}T00:00:00Z" for day in days]
    with pytest.raises(DataError, match=r"row 1 is a midnight .*stamp=open, stamp=close or stamp=date"):
        closes_of_csv(tmp_path, stamps, f"?calendar={calendar}&frequency={frequency}")


def test_the_three_meanings_of_a_midnight_round_the_clock(tmp_path: Path) -> None:
    """On 24/7, a midnight as close is itself; as opening or date its bar closes at the midnight after."""
    days = [str(day) for day in np.arange("2021-01-04", "2021-01-14", dtype="datetime64[D]")]
    stamps = [f"{day}T00:00" for day in days]
    after = [f"{date.fromisoformat(day) + timedelta(1)}T00:00" for day in days]
    written = [f"{stamp}:00Z" for stamp in stamps]
    assert closes_of_csv(tmp_path, written, "?calendar=24/7&stamp=close") == stamps
    assert closes_of_csv(tmp_path, written, "?calendar=24/7&stamp=open") == after
    assert closes_of_csv(tmp_path, written, "?calendar=24/7&stamp=date") == after
    assert closes_of_csv(tmp_path, days, "?calendar=24/7") == after


def test_a_day_of_utc_in_foreign_exchange_closes_when_it_is_over(tmp_path: Path) -> None:
    """A day that opens at midnight in UTC closes a day later, on Friday with the market, and not before."""
    stamps = [f"2021-01-{day:02}T00:00:00Z" for day in range(4, 9)]
    found = closes_of_csv(tmp_path, stamps, "?calendar=24/5&stamp=open")
    assert found == [*(f"2021-01-{day:02}T00:00" for day in range(5, 9)), "2021-01-08T22:00"]


def test_weeks_are_dated_by_their_end_or_it_is_told(tmp_path: Path) -> None:
    """Weeks dated by Fridays are read as they are; by Mondays they are refused, and close with stamp=open on
    the last session of the week: Thursday before Good Friday, Friday in a week that begins on Tuesday.
    """
    mondays = ["2019-04-08", "2019-04-15", "2019-04-22", "2019-05-20", "2019-05-28", "2019-06-03"]
    fridays = ["2019-04-12", "2019-04-18", "2019-04-26", "2019-05-24", "2019-05-31", "2019-06-07"]
    closes = [f"{day}T20:00" for day in fridays]
    assert closes_of_csv(tmp_path, mondays, "?frequency=1w&stamp=open") == closes
    assert closes_of_csv(tmp_path, fridays, "?frequency=1w") == closes
    with pytest.raises(DataError, match="row 1 is 2019-04-08, which may be the first day of its week"):
        closes_of_csv(tmp_path, mondays, "?frequency=1w")
    with pytest.raises(DataError, match="first day of its week"):
        closes_of_csv(tmp_path, mondays)


def test_months_are_dated_by_their_end_or_it_is_told(tmp_path: Path) -> None:
    """Months dated by the first are refused; with stamp=open they close with their last session."""
    firsts, lasts = ["2019-01-01", "2019-02-01", "2019-03-01", "2019-04-01"], ["31", "28", "29", "30"]
    closes = [f"{first[:8]}{last}" for first, last in zip(firsts, lasts, strict=True)]
    found = closes_of_csv(tmp_path, firsts, "?frequency=1M&stamp=open")
    assert [one[:10] for one in found] == closes
    assert closes_of_csv(tmp_path, ["2019-03-31", "2019-04-30"], "?frequency=1M") == [
        "2019-03-29T20:00",
        "2019-04-30T20:00",
    ]
    with pytest.raises(DataError, match="first day of its month"):
        closes_of_csv(tmp_path, firsts, "?frequency=1M")


def test_openings_of_intraday_bars_are_moved_to_their_closes(tmp_path: Path) -> None:
    """Hours stamped with their opening close an hour later, the last of a session with it, half days too."""
    stamps = [f"2019-07-03T{hour}:30:00Z" for hour in (13, 14, 15, 16)] + ["2019-07-05T19:30:00Z"]
    found = closes_of_csv(tmp_path, stamps, "?frequency=1h&stamp=open")
    assert found == [f"2019-07-03T{end}" for end in ("14:30", "15:30", "16:30", "17:00")] + [
        "2019-07-05T20:00"
    ]
    tokyo = closes_of_csv(
        tmp_path, ["2024-06-03T02:00:00Z", "2024-06-03T03:30:00Z"], "?frequency=1h&stamp=open&calendar=XTKS"
    )
    assert tokyo == ["2024-06-03T02:30", "2024-06-03T04:30"]


def test_openings_of_daily_bars_close_with_their_session(tmp_path: Path) -> None:
    """09:30 in New York is the opening of that day's bar, 18:00 on a Sunday in Chicago that of Monday's."""
    assert closes_of_csv(tmp_path, ["2019-07-02T13:30:00Z", "2019-07-03T13:30:00Z"], "?stamp=open") == [
        "2019-07-02T20:00",
        "2019-07-03T17:00",
    ]
    evening = closes_of_csv(
        tmp_path, ["2019-07-07T22:00:00Z", "2019-07-08T22:00:00Z"], "?stamp=open&calendar=CMES"
    )
    assert evening == ["2019-07-08T22:00", "2019-07-09T22:00"]


def test_a_meaning_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """No fourth meaning, no dates of hours, and no openings of hours whose length is not told."""
    hours = [f"2019-07-02T{hour}:30:00Z" for hour in (14, 15, 16)]
    with pytest.raises(InputError, match="stamp is 'end'; write open, close or date"):
        find_source(f"folder:{tmp_path}?stamp=end")
    with pytest.raises(DataError, match="stamp=date is for bars of a day or more"):
        closes_of_csv(tmp_path, hours, "?stamp=date")
    with pytest.raises(DataError, match="write their length, as in frequency=1h"):
        closes_of_csv(tmp_path, hours, "?stamp=open")


@pytest.mark.parametrize("calendar", ["24/7", "XNYS", "24/5", "XASX"])
def test_bars_go_out_and_come_back_unchanged(tmp_path: Path, calendar: str) -> None:
    """A snapshot that goes through Parquet, or through CSV as closes, and is stored again is the same one."""
    closes = session_closes(date(2020, 12, 14), date(2021, 1, 29), calendar if calendar != "24/7" else "24/5")
    if calendar == "24/7":
        closes = np.arange("2020-12-14", "2021-01-29", dtype="datetime64[D]").astype("datetime64[ns]")
    prices = {name: 50 + np.arange(len(closes)) % 5 + 0.1 for name in ("open", "high", "low", "close")}
    table = bars_table("X", closes, {**prices, "volume": prices["close"], "adjustment": np.ones(len(closes))})
    stored = SnapshotStore(tmp_path / "first")
    saved = stored.save(table, "bars")
    out = stored.load(saved.id)
    for name in ("parquet", "snapshot", "csv"):
        (tmp_path / name).mkdir()
    named = table.replace_schema_metadata({b"alphaloop.calendar": calendar.encode()})
    pq.write_table(named, tmp_path / "parquet" / "X.parquet")
    (tmp_path / "snapshot" / "X.parquet").write_bytes(saved.path.read_bytes())
    pyarrow.csv.write_csv(out, tmp_path / "csv" / "X.csv")
    for name, more in (("parquet", ""), ("snapshot", ""), ("csv", "&stamp=close")):
        back = find_source(f"folder:{tmp_path / name}?calendar={calendar}{more}").history(())
        assert SnapshotStore(tmp_path / f"again-{name}").save(back, "bars").id == saved.id, name


def test_a_bar_that_closes_before_its_session_opens_is_an_error() -> None:
    """Daily bars stamped with the opening are an error that names session and way out, not bars."""
    columns = {name: np.array([50.0, 51.0, 52.0]) for name in ("open", "high", "low", "close", "volume")}
    opens = np.array(["2019-07-01T13:30", "2019-07-02T13:30", "2019-07-03T13:30"], dtype="datetime64[ns]")
    table = bars_table("KO", opens, {**columns, "adjustment": np.ones(3)})
    found = checks.check_bars(table, "XNYS")
    assert [(one.rule, one.severity) for one in found] == [("calendar", "error")] * 3
    assert "before the session of XNYS opened at 2019-07-01T13:30:00+00:00" in found[0].value
    assert "stamp=open or stamp=date" in found[0].value


def test_intraday_openings_are_an_error_and_closes_are_none() -> None:
    """Half hours from 09:30 to 15:30 are openings; from 10:00 to 16:00, or with early trading, not."""
    starts = np.datetime64("2019-07-01T13:30", "ns") + np.arange(2) * np.timedelta64(1, "D")
    opens = (starts[:, None] + np.arange(13) * np.timedelta64(30, "m")).ravel()

    def told(times: np.ndarray) -> list[str]:
        columns = {
            name: 50 + np.arange(len(times)) % 3.0 for name in ("open", "high", "low", "close", "volume")
        }
        table = bars_table("KO", times, {**columns, "adjustment": np.ones(len(times))})
        return [one.value for one in checks.check_bars(table, "XNYS") if one.rule == "calendar"]

    assert len(told(opens)) == 1
    assert "these times look like openings" in told(opens)[0]
    assert told(opens + np.timedelta64(30, "m")) == []
    assert told(np.sort(np.r_[opens, starts - np.timedelta64(30, "m")])) == []


def test_a_folder_of_two_kinds_of_stamps_has_each_bar_once(tmp_path: Path) -> None:
    """Midnights in one file and closes in another are the same bars."""
    days, closes = sessions()
    first = closes_of_csv(tmp_path / "a", [f"{day} 00:00:00-05:00" for day in days[:5]])
    second = closes_of_csv(tmp_path / "b", [f"{close}:00Z" for close in closes[:5]])
    assert first == second == closes[:5]


def test_a_moment_in_a_gap_of_summer_time_says_so(tmp_path: Path) -> None:
    """The message of an hour that is there twice keeps its reason."""
    stamps = ["2024-11-03 00:30:00", "2024-11-03 01:30:00"]
    with pytest.raises(DataError, match=r"row 2 .*twice or never in America/New_York"):
        closes_of_csv(tmp_path, stamps, "?timezone=America/New_York&frequency=1h&calendar=24/7")


def test_data_frames_may_say_what_their_times_are() -> None:
    """`stamp` of `frame_bars` is the option of folders; naive midnights are dates on 24/7 too."""
    index = pd.date_range("2021-01-04", periods=4, tz="UTC", name="time")
    frame = pd.DataFrame({"close": [1.0, 2.0, 3.0, 4.0]}, index=index)
    with pytest.raises(DataError, match="stamp=open"):
        frame_bars(frame, "BTC", calendar="24/7")
    closes = frame_bars(frame, "BTC", calendar="24/7", stamp="close").timestamps
    opened = frame_bars(frame, "BTC", calendar="24/7", stamp="open").timestamps
    assert closes[0] == np.datetime64(datetime(2021, 1, 4, tzinfo=UTC).replace(tzinfo=None))
    assert (opened - closes == np.timedelta64(1, "D")).all()
    naive = frame_bars(frame.tz_localize(None), "BTC", calendar="24/7").timestamps
    assert (naive == opened).all()
