"""Gaps of all symbols are one finding, and days of one's own are holidays."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import BARS_SCHEMA, to_datetime
from alphaloop.settings.settings import Settings
from marketdata.calendars import open_time, session_closes
from marketdata.configured_quality import quality_policies
from marketdata.quality.checks import Thresholds, check_bars
from marketdata.quality.incremental_check import check_new_bars

HOUR = np.timedelta64(1, "h")
CLOSES = session_closes(date(2019, 3, 1), date(2019, 5, 31))
HOURS = np.datetime64("2021-01-01T01", "ns") + np.arange(240) * HOUR


def table(**closes: np.ndarray) -> pa.Table:
    """Bars of a random walk of each symbol that close at its times."""
    parts = []
    for place, (symbol, times) in enumerate(closes.items()):
        close = 50 * np.exp(np.cumsum(0.01 * np.random.default_rng(place).standard_normal(len(times))))
        columns = dict.fromkeys(("open", "high", "low", "close"), close)
        columns |= {"volume": np.ones(len(times)), "adjustment": np.ones(len(times))}
        stamps = pa.array(times).cast(pa.timestamp("ns", tz="UTC"))
        parts.append(pa.table({"symbol": [symbol] * len(times), "timestamp": stamps, **columns}))
    bars = pa.concat_tables(parts).select(BARS_SCHEMA.names)
    return bars.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])


def without(times: np.ndarray, *days: str) -> np.ndarray:
    """The times that lie on none of these days."""
    return times[~np.isin(times.astype("datetime64[D]"), np.array(days, dtype="datetime64[D]"))]


def found(bars: pa.Table, calendar: str = "XNYS", *holidays: str) -> list[tuple[str, str, str]]:
    """Rule, symbol and day of each finding."""
    findings = check_bars(bars, calendar, Thresholds(holidays=holidays) if holidays else Thresholds())
    return [(one.rule, one.symbol, one.timestamp[:10]) for one in findings]


def test_a_session_that_all_symbols_lack_is_one_finding() -> None:
    """Three symbols without a day are one gap of no symbol; the one that also lacks another has its own."""
    day, other = "2019-04-03", "2019-04-10"
    bars = table(A=without(CLOSES, day), B=without(CLOSES, day, other), C=without(CLOSES, day))
    assert found(bars) == [("gap", "B", other), ("gap", "", day)]
    value = next(one.value for one in check_bars(bars, "XNYS") if one.symbol == "")
    assert value.startswith("no bar of any of the 3 symbols on this session of XNYS; ")
    assert "data.holidays" in value


def test_sessions_in_a_row_that_all_symbols_lack_are_one_finding() -> None:
    """Two weeks without any bar, a weekend between them, are one gap, and a later day is another."""
    days = [str(day) for day in CLOSES[10:20].astype("datetime64[D]")]
    bars = table(A=without(CLOSES, *days, "2019-05-15"), B=without(CLOSES, *days, "2019-05-15"))
    assert found(bars) == [("gap", "", days[0]), ("gap", "", "2019-05-15")]
    assert f"on 10 sessions of XNYS, to {days[-1]}" in check_bars(bars, "XNYS")[0].value


def test_symbols_that_were_not_there_yet_or_no_longer_do_not_count() -> None:
    """Of a day before its first and after its last bar a symbol says nothing; one that had a bar does."""
    day = "2019-04-03"
    gone, late = CLOSES[:10], CLOSES[-10:]
    assert found(table(A=without(CLOSES, day), B=without(CLOSES, day), C=gone, D=late)) == [("gap", "", day)]
    assert found(table(A=without(CLOSES, day), B=CLOSES, C=gone)) == [("gap", "A", day)]
    assert found(table(A=without(CLOSES, day))) == [("gap", "A", day)]


def test_hours_that_all_symbols_lack_are_one_finding() -> None:
    """An outage of a venue of coins is one gap of as many bars; a hole of one symbol stays its own."""
    outage = np.delete(HOURS, np.arange(100, 130))
    bars = table(A=outage, B=np.delete(outage, 40), C=outage)
    assert found(bars, "24/7") == [("gap", "B", "2021-01-02"), ("gap", "", "2021-01-05")]
    told = [one for one in check_bars(bars, "24/7") if one.symbol == ""]
    assert [one.severity for one in told] == ["error"]
    assert told[0].value.startswith("30 bars are missing after this one, of any of the 3 symbols")


def test_a_common_gap_before_new_bars_is_told_with_them() -> None:
    """Bars that come after a day without any are judged with those before: one gap."""
    bars = table(A=without(CLOSES, "2019-05-30"), B=without(CLOSES, "2019-05-30"))
    before, new = bars.slice(0, len(bars) - 2), bars.slice(len(bars) - 2)
    findings = check_new_bars(before, new, lambda rows: check_bars(rows, "XNYS"))
    assert [(one.rule, one.symbol, one.timestamp) for one in findings] == [("gap", "", "2019-05-30")]


def test_a_holiday_of_one_s_own_is_no_gap_and_its_bars_are_findings() -> None:
    """A day that is named is expected of no symbol; a bar of it closes while the market was closed."""
    day = "2019-04-03"
    bars = table(A=without(CLOSES, day), B=without(CLOSES, day, "2019-04-10"))
    assert found(bars, "XNYS", day) == [("gap", "B", "2019-04-10")]
    assert found(table(A=CLOSES), "XNYS", day) == [("calendar", "A", day)]


def test_holidays_shorten_gaps_of_hours() -> None:
    """Hours of a named day are missing no more; what else is missing beside them is."""
    assert found(table(A=without(HOURS - np.timedelta64(1, "s"), "2021-01-04")), "24/7", "2021-01-04") == []
    # Bars that close at midnight are of the day that ends.
    inside = (np.datetime64("2021-01-04T00") < HOURS) & (np.datetime64("2021-01-05T00") >= HOURS)
    assert found(table(A=HOURS[~inside]), "24/7", "2021-01-04") == []
    assert found(table(A=HOURS), "24/7", "2021-01-04") == [("calendar", "A", "2021-01-04")] * 23 + [
        ("calendar", "A", "2021-01-05")
    ]
    wider = HOURS[~(inside | np.roll(inside, 3))]
    findings = check_bars(table(A=wider), "24/7", Thresholds(holidays=("2021-01-04",)))
    assert [(one.rule, one.value, one.severity) for one in findings] == [
        ("gap", "3 bars are missing after this one", "warning")
    ]


def test_holidays_shorten_gaps_of_an_exchange() -> None:
    """Half hours of New York over a named session have no gap, and those of the next session do."""
    half = np.concatenate([close - np.arange(12, -1, -1) * np.timedelta64(30, "m") for close in CLOSES[:20]])
    half = half[np.diff(open_time(np.r_[half[:1] - HOUR, half], "XNYS")) > 0]
    days = [str(day) for day in CLOSES[10:12].astype("datetime64[D]")]
    assert found(table(A=without(half, days[0])), "XNYS", days[0]) == []
    short = check_bars(table(A=without(half, *days)), "XNYS", Thresholds(holidays=(days[0],)))
    assert [(one.rule, one.value) for one in short] == [("gap", "13 bars are missing after this one")]


def test_a_feed_is_not_stale_over_holidays() -> None:
    """Three named sessions are no time in which bars were to come; live feeds expect none, either."""
    from marketdata.quality.rules.holidays import session_predicate_without

    bars = table(A=CLOSES[:-4], B=CLOSES[:-4])
    now = to_datetime(CLOSES[-1]) + timedelta(minutes=1)
    days = tuple(str(day) for day in CLOSES[-4:-1].astype("datetime64[D]"))
    assert {one.rule for one in check_bars(bars, "XNYS", now=now)} == {"stale"}
    assert check_bars(bars, "XNYS", Thresholds(holidays=days), now=now) == []
    expects = session_predicate_without("XNYS", days)
    assert not expects(to_datetime(CLOSES[-5]), to_datetime(CLOSES[-2]))
    assert expects(to_datetime(CLOSES[-5]), now)
    assert session_predicate_without("XNYS", ())(to_datetime(CLOSES[-5]), to_datetime(CLOSES[-4]))


def test_holidays_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """`data.holidays` takes days, reaches the rules, and names a word that is no day."""
    from alphaloop.errors import SettingsError
    from alphaloop.settings.settings import load_settings

    assert quality_policies(Settings(data={"holidays": [date(2012, 10, 29)]}))[1].holidays == ("2012-10-29",)  # type: ignore[arg-type]
    monkeypatch.setenv("ALPHALOOP_DATA__HOLIDAYS", '["2012-10-29", "2012-10-30"]')
    assert quality_policies(load_settings())[1].holidays == ("2012-10-29", "2012-10-30")
    monkeypatch.setenv("ALPHALOOP_DATA__HOLIDAYS", '["Sandy"]')
    with pytest.raises(SettingsError, match="2015-01-31"):
        load_settings()
