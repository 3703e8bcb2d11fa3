"""A session or a step of the frequency counts once, and a wrong frequency is not believed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import BARS_SCHEMA, to_datetime
from alphaloop.errors import DataError
from marketdata.calendars import open_time, session_closes
from marketdata.quality.checks import Finding, check_bars
from marketdata.quality.cleaning import Policies, clean_bars
from marketdata.sources.registry import find_source
from marketdata.storage import incremental
from marketdata.storage.snapshots import SnapshotStore

SECOND, MINUTE = np.timedelta64(1, "s"), np.timedelta64(1, "m")
CLOSES = session_closes(date(2019, 1, 2), date(2019, 12, 31))
# Winter and summer time, and the half day after Thanksgiving.
DAILY = CLOSES[-60:]


def at(text: str) -> np.ndarray:
    """A moment in UTC as an array."""
    return np.array([text], dtype="datetime64[ns]")


def hours(first: str, count: int, step: int = 60) -> np.ndarray:
    """The closes of bars of `step` minutes on a market that is always open."""
    return at(first) + np.arange(count) * step * MINUTE


def of_sessions(step: int, anchored: bool, calendar: str = "XNYS") -> np.ndarray:
    """Closes of intraday bars over three weeks with a half day: from each opening, or on the clock."""
    moments = []
    for close in session_closes(date(2019, 11, 18), date(2019, 12, 6), calendar):
        length = 210 if close.astype("datetime64[D]").astype(str) == "2019-11-29" else 390
        opened = close - length * MINUTE
        first = opened if anchored else opened.astype("datetime64[h]").astype("datetime64[ns]")
        inside = first + np.arange(1, 500 // step + 2) * step * MINUTE
        moments.append(np.r_[inside[(inside > opened) & (inside < close)], close])
    return np.concatenate(moments)


def table(times: np.ndarray, symbol: str = "X") -> pa.Table:
    """Bars of a random walk that close at these times."""
    close = 50 * np.exp(np.cumsum(0.01 * np.random.default_rng(3).standard_normal(len(times))))
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    columns |= {"volume": np.ones(len(times)), "adjustment": np.ones(len(times))}
    stamps = pa.array(np.sort(times)).cast(pa.timestamp("ns", tz="UTC"))
    return pa.table({"symbol": [symbol] * len(times), "timestamp": stamps, **columns}).select(
        BARS_SCHEMA.names
    )


def found(bars: pa.Table, calendar: str, **stated: str) -> list[tuple[str, str, str]]:
    """Rule, minute and severity of the findings about periods."""
    findings: list[Finding] = check_bars(bars, calendar, **stated)  # type: ignore[arg-type]
    return [
        (one.rule, one.timestamp[:16], one.severity) for one in findings if one.rule in ("grid", "frequency")
    ]


@pytest.mark.parametrize(
    ("times", "calendar", "wrong"),
    [
        # The time of the download beside a close; of the night after it; of the session before it.
        (np.r_[DAILY, at("2019-12-31T21:41")], "XNYS", "2019-12-31T21:41"),
        (np.r_[DAILY, at("2019-11-15T02:10")], "XNYS", "2019-11-15T02:10"),
        (np.r_[DAILY, at("2019-12-31T18:41")], "XNYS", "2019-12-31T18:41"),
        (np.r_[hours("2021-01-01", 60, 1440), at("2021-02-01T00:07")], "24/7", "2021-02-01T00:07"),
        (np.r_[hours("2021-01-01", 90), at("2021-01-02T10:20")], "24/7", "2021-01-02T10:20"),
        (np.r_[of_sessions(15, True), at("2019-11-20T16:17")], "XNYS", "2019-11-20T16:17"),
        (np.r_[of_sessions(60, True), at("2019-11-20T16:35")], "XNYS", "2019-11-20T16:35"),
        (np.r_[hours("2021-01-01T22:00", 40, 7 * 1440), at("2021-10-03T10:00")], "24/7", "2021-10-03T10:00"),
    ],
)
def test_a_second_bar_of_a_period_is_an_error(times: np.ndarray, calendar: str, wrong: str) -> None:
    """Of two bars of a session, an hour or a week, the one at an unusual time is found, and no other."""
    assert found(table(times), calendar) == [("grid", wrong, "error")]


def test_bars_of_two_stamps_count_once() -> None:
    """Closes of 59.999 among those of 00:00 double an hour: the later of each pair is an error."""
    times = hours("2021-01-01", 200)
    both = np.sort(np.r_[times, times[50:70] - np.timedelta64(1, "ms")])
    assert [one[0::2] for one in found(table(both), "24/7")] == [("grid", "error")] * 20


@pytest.mark.parametrize(
    ("times", "calendar"),
    [
        (DAILY, "XNYS"),
        # 16:00 in New York on a half day, too.
        (np.where(at("2019-11-29T18:00")[0] == DAILY, at("2019-11-29T21:00")[0], DAILY), "XNYS"),
        (of_sessions(60, True), "XNYS"),
        (of_sessions(60, False), "XNYS"),
        (of_sessions(5, True), "XNYS"),
        (of_sessions(120, False), "XNYS"),
        (hours("2021-01-01T00:59:59.999", 90), "24/7"),
        (CLOSES[4::5], "XNYS"),
        (np.array([f"2019-{month:02}-28T21:00" for month in range(1, 13)], "datetime64[ns]"), "24/7"),
        # Bars by volume have no grid.
        (at("2021-01-01") + np.cumsum(np.random.default_rng(1).integers(20, 4000, 300)) * SECOND, "24/7"),
        (DAILY[:1], "XNYS"),
        (DAILY[:2], "XNYS"),
    ],
)  # fmt: skip
def test_right_bars_of_any_frequency_are_no_finding(times: np.ndarray, calendar: str) -> None:
    """Half days, summer time, short last bars, weeks, months and bars without a grid are right."""
    assert found(table(times), calendar) == []


def test_four_hours_of_foreign_exchange_keep_their_grid_over_summer_time() -> None:
    """Bars on the clock of UTC and a last bar at 17:00 in New York, which moves, are no finding."""
    every = hours("2019-03-04T00:00", 4 * 24, 240)
    opened = np.diff(open_time(np.r_[every[:1] - 240 * MINUTE, every], "24/5")) > 0
    ends = session_closes(date(2019, 3, 4), date(2019, 3, 18), "24/5")[4::5]
    assert found(table(np.unique(np.r_[every[opened], ends])), "24/5") == []


def test_a_bar_between_the_others_is_a_warning() -> None:
    """A lone bar at an unusual time is told, and refuses nothing."""
    times = hours("2021-01-01", 90, 1440)
    times[40] += 550 * MINUTE
    assert found(table(times), "24/7") == [("grid", "2021-02-10T09:10", "warning")]


def test_a_second_bar_can_be_dropped_or_set_aside() -> None:
    """Each policy takes the download's bar and leaves that of the close."""
    bars = table(np.r_[DAILY, at("2019-12-31T21:41")])
    for policy in ("repair", "quarantine"):
        cleaned = clean_bars(bars, "XNYS", "bars", Policies({"grid": policy}))  # type: ignore[dict-item]
        assert cleaned.table.num_rows == len(DAILY)
        assert cleaned.table["timestamp"].to_numpy().max() == DAILY[-1]


@pytest.mark.parametrize(("stored", "new"), [("21:00", "21:41"), ("18:41", "21:00")])
def test_a_delta_s_second_bar_of_a_stored_session_is_refused(stored: str, new: str) -> None:
    """A bar of the session that the last stored one is of is an error, whichever of them is off the grid."""
    before = table(np.r_[DAILY[:-1], at(f"2019-12-31T{stored}")])
    later = table(np.r_[at(f"2019-12-31T{new}"), CLOSES[:0]])
    with pytest.raises(DataError, match=r"\[grid\] X at 2019-12-31.*another bar of this session of XNYS"):
        clean_bars(later, "XNYS", "bars", before=before)
    known = table(np.r_[DAILY[:-2], DAILY[-2:-1]])
    assert clean_bars(table(DAILY[-1:]), "XNYS", "bars", before=known).findings == ()


@pytest.mark.parametrize(
    ("times", "calendar", "stated", "words"),
    [
        (DAILY, "XNYS", "1m", "every 1m and come about every 1 day"),
        (DAILY, "XNYS", "1h", "every 1h and"),
        (of_sessions(60, True), "XNYS", "1d", "come about every 1 hour"),
        (of_sessions(5, True), "XNYS", "15m", "come about every 5 minutes"),
        (CLOSES[4::5], "XNYS", "1d", "come about every 1 week"),
        (CLOSES, "XNYS", "1w", "come about every 1 day"),
        (hours("2021-01-01", 90, 240), "24/7", "1h", "come about every 4 hours"),
        (np.sort(np.r_[DAILY, DAILY + 480 * MINUTE]), "XNYS", "1d", "come about every 8 hours"),
    ],
)
def test_a_frequency_that_the_bars_do_not_have_is_an_error(
    times: np.ndarray, calendar: str, stated: str, words: str
) -> None:
    """The stated step and the usual one are both named."""
    findings = [
        one for one in check_bars(table(times), calendar, frequency=stated) if one.rule == "frequency"
    ]
    assert [one.severity for one in findings] == ["error"]
    assert words in findings[0].value


@pytest.mark.parametrize(
    ("times", "calendar", "stated"),
    [
        (DAILY, "XNYS", "1d"),
        (of_sessions(60, True), "XNYS", "1h"),
        (CLOSES[4::5], "XNYS", "1w"),
        # Minutes in which nothing was traded have no bar.
        (hours("2021-01-01", 900, 1)[np.random.default_rng(2).random(900) < 0.1], "24/7", "1m"),
        # Too few to tell.
        (DAILY[:4], "XNYS", "1m"),
        (DAILY, "XNYS", ""),
    ],
)
def test_a_frequency_that_fits_is_no_finding(times: np.ndarray, calendar: str, stated: str) -> None:
    """Right labels, sparse minutes and a handful of bars are believed."""
    assert [one for one in found(table(times), calendar, frequency=stated) if one[0] == "frequency"] == []


def test_the_frequency_of_a_folder_is_held_against_its_bars(tmp_path: Path) -> None:
    """Bars are stored where frequency= fits or is left out, and refused with both steps named where not."""
    lines = [f"{to_datetime(moment).isoformat()},{50 + place % 7}" for place, moment in enumerate(DAILY)]
    (tmp_path / "X.csv").write_text("\n".join(["timestamp,close", *lines]) + "\n")
    store, policies = SnapshotStore(tmp_path / "store"), Policies({"outlier": "report"})
    for option in ("", "?frequency=1d"):
        incremental.store_base_snapshot(store, find_source(f"folder:{tmp_path}{option}"), policies=policies)
    with pytest.raises(DataError, match=r"\[frequency\] bars are said to come every 5m"):
        incremental.store_base_snapshot(
            store, find_source(f"folder:{tmp_path}?frequency=5m"), policies=policies
        )
