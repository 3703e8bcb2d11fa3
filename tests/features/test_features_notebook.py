"""Three lines of a notebook: bars by day, features by name, and what is said of a clumsy call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from alphaloop.errors import DataError, InputError
from features.notebook import bars, features, frame_bars

SOURCE = "us-tech-ohlcv"


def test_both_days_are_included() -> None:
    """Bars that close on the first and on the last day are there; a moment cuts where it says."""
    week = bars(SOURCE, "AAPL", start="2010-01-04", end="2010-01-08")
    assert [str(moment)[:10] for moment in week.timestamps[[0, -1]]] == ["2010-01-04", "2010-01-08"]
    assert len(bars(SOURCE, "AAPL", start="2010-01-04", end="2010-01-08T22:00+02:00")) == 4


def test_features_come_as_a_frame_by_timestamp_and_symbol() -> None:
    """Names, formulas and outputs are its columns; float32, NaN before there is enough history."""
    frame = features(
        bars(SOURCE, "AAPL", "MSFT", start="2012-01-01"),
        "rsi(14)",
        "trend = close / sma(50) - 1",
        "macd.macdhist",
    )
    assert list(frame.columns) == ["rsi_14", "trend", "macd_macdhist"]
    assert frame.index.names == ["timestamp", "symbol"]
    assert {str(kind) for kind in frame.dtypes} == {"float32"}
    assert np.isnan(frame["rsi_14"].iloc[0])
    assert frame.xs("MSFT", level="symbol").iloc[-1].notna().all()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"start": "yesterday"}, "'yesterday' is no day"),
        ({"start": 2010}, "2010 is no day"),
        ({"end": "2010-01-04T16:00"}, "has no time zone"),
    ],
)
def test_a_wrong_day_is_named(given: dict[str, Any], named: str) -> None:
    """Texts that are no day, numbers, and moments that might mean any place on earth."""
    with pytest.raises(InputError, match=named):
        bars(SOURCE, "AAPL", **given)


def test_lists_and_frames_are_told_what_is_wanted() -> None:
    """A list where names stand one after the other, and a data frame for bars."""
    with pytest.raises(InputError, match="symbols are texts, one after the other"):
        bars(SOURCE, ["AAPL", "MSFT"])  # type: ignore[arg-type]
    week = bars(SOURCE, "AAPL", start="2010-01-04", end="2010-01-08")
    with pytest.raises(InputError, match=r"features are texts.*is a list"):
        features(week, ["rsi"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="this is a DataFrame"):
        features(features(week, "rsi"), "rsi")  # type: ignore[arg-type]


def own(**columns: Any) -> pd.DataFrame:
    """Three sessions of one stock, as anybody has them."""
    days = pd.DatetimeIndex(["2019-01-02", "2019-01-03", "2019-01-04"])
    return pd.DataFrame({"Close": [10.0, 11.0, 12.0], "Volume": [1.0, 2.0, 3.0], **columns}, index=days)


def test_a_data_frame_of_ones_own_is_bars() -> None:
    """Days in the index are closes of sessions, names of columns as usual; further columns on demand."""
    panel = frame_bars(own(mood=[0.1, 0.2, 0.3]), "ACME", extra=("mood",))
    assert (panel.symbols, len(panel)) == (("ACME",), 3)
    assert str(panel.timestamps[0]) == "2019-01-02T21:00:00.000000000"
    frame = features(panel, "change = rocp(close, 1)", "data.mood", "volume")
    assert frame["data_mood"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert frame["change"].iloc[1] == pytest.approx(0.1)
    by_row = own(symbol=["B", "B", "A"]).rename_axis("date").reset_index()
    assert frame_bars(by_row.iloc[::-1]).symbols == ("A", "B")


def test_times_of_a_frame_have_a_zone_or_are_refused() -> None:
    """Hours without a time zone might be anybody's; with one they are moments."""
    hours = own().set_index(pd.DatetimeIndex(["2019-01-02 10:00", "2019-01-02 11:00", "2019-01-02 12:00"]))
    with pytest.raises(DataError, match="row 1"):
        frame_bars(hours, "ACME", calendar="24/7")
    moments = frame_bars(hours, "ACME", calendar="24/7", timezone="Europe/London").timestamps
    assert str(moments[0]) == "2019-01-02T10:00:00.000000000"
    aware = hours.set_index(hours.index.tz_localize("America/New_York"))
    assert str(frame_bars(aware, "ACME", calendar="24/7").timestamps[0]) == "2019-01-02T15:00:00.000000000"


def test_an_adjusted_close_adjusts_forward_from_the_first_bar() -> None:
    """As in files: the adjustment begins at 1, whatever level the adjusted closes have."""
    panel = frame_bars(own(**{"Adj Close": [5.0, 5.5, 12.0]}), "ACME")
    assert panel.adjustment[:, 0].tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (own().drop(columns="Close"), "column 'close' is missing"),
        (own(Close=["a", "b", "c"]), "column 'close'"),
        (own(Close=[10.0, -11.0, 12.0]), r"\[price\] ACME"),
        (own().iloc[:0], "there are no rows"),
        (own().iloc[[0, 0]], r"\[unique\] ACME"),
        (own().reset_index(drop=True), "column 'timestamp' is missing"),
        (own().rename(columns={"Volume": 3}), None),
    ],
)
def test_a_frame_that_is_no_bars_is_refused(frame: pd.DataFrame, named: str | None) -> None:
    """What is missing, of another type, impossible or twice is named; names that are no texts do no harm."""
    if named is None:
        assert len(frame_bars(frame, "ACME")) == 3
        return
    with pytest.raises(DataError, match=named):
        frame_bars(frame, "ACME")
    with pytest.raises(InputError, match="give a pandas DataFrame"):
        frame_bars(frame.to_dict())
