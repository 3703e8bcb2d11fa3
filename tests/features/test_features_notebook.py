"""Three lines of a notebook: bars by day, features by name, and what is said of a clumsy call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alphaloop.errors import InputError
from features.notebook import bars, features

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
