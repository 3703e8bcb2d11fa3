"""The embedded bars with open, high, low and volume: what their files hold, and what is made of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import ModuleType

import numpy as np
import pytest

from alphaloop.bars import BARS_SCHEMA, BarPanel
from alphaloop.errors import DataError, MissingPartError
from marketdata.files.forward_factor import forward_factor
from marketdata.sources import bokeh, gym_anytrading
from marketdata.sources.registry import find_source


def test_the_technology_stocks_are_what_they_say() -> None:
    """Five symbols, 12,154 bars as traded, stamped with the session's close; late comers begin late."""
    source = find_source("us-tech-ohlcv")
    table = source.history()
    bars = BarPanel.from_table(table)
    assert (table.schema, table.num_rows, source.adjusted_only) == (BARS_SCHEMA, 12_154, False)
    assert source.symbols() == bars.symbols == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    assert bars.at(0).timestamp == datetime(2000, 3, 1, 21, tzinfo=UTC)
    assert bars.at(len(bars) - 1).timestamp == datetime(2013, 3, 1, 21, tzinfo=UTC)
    first = {name: int(np.isfinite(bars.close[:, place]).argmax()) for place, name in enumerate(bars.symbols)}
    assert str(bars.timestamps[first["GOOG"]])[:10] == "2004-08-19"
    assert str(bars.timestamps[first["FB"]])[:10] == "2012-05-18"
    assert table["volume"].null_count == table["open"].null_count == 0


@pytest.mark.parametrize(
    ("symbol", "day"), [("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")]
)
def test_splits_are_in_the_prices_and_in_the_adjustment(symbol: str, day: str) -> None:
    """On a split the price halves as traded and the factor doubles; the adjusted price goes on."""
    bars = BarPanel.from_table(find_source("us-tech-ohlcv").history((symbol,)))
    at = int(np.searchsorted(bars.timestamps.astype("datetime64[D]"), np.datetime64(day)))
    assert bars.close[at, 0] / bars.close[at - 1, 0] < 0.6
    assert bars.adjustment[at, 0] / bars.adjustment[at - 1, 0] == pytest.approx(2.0, abs=1e-9)
    assert bars.adjusted_close[at, 0] / bars.adjusted_close[at - 1, 0] == pytest.approx(1.0, abs=0.2)


def test_adjustments_change_on_the_days_of_actions_alone() -> None:
    """Between dividends and splits the factor is constant to the last bit, and it begins at 1."""
    bars = BarPanel.from_table(find_source("us-tech-ohlcv").history())
    actions = {}
    for place, symbol in enumerate(bars.symbols):
        factor = bars.adjustment[np.isfinite(bars.close[:, place]), place]
        assert factor[0] == 1.0
        actions[symbol] = int((np.diff(factor) != 0).sum())
    assert actions == {"AAPL": 5, "FB": 0, "GOOG": 0, "IBM": 52, "MSFT": 38}


def test_later_actions_change_no_earlier_factor() -> None:
    """With every later close readjusted, as after another split, the factors before are the same."""
    symbols = np.array(["A"] * 6, dtype=object)
    ratio = np.array([0.5, 0.5, 1.0, 1.0, 1.03, 1.03])
    whole = forward_factor(symbols, ratio)
    np.testing.assert_allclose(whole, [1, 1, 2, 2, 2.06, 2.06], rtol=1e-15)
    for seen in range(1, 7):
        np.testing.assert_array_equal(forward_factor(symbols[:seen], ratio[:seen]), whole[:seen])
    np.testing.assert_array_equal(forward_factor(symbols, ratio / 8), whole)
    two = forward_factor(np.array(["A", "A", "B", "B"], dtype=object), np.array([0.5, 1.0, 4.0, 4.0]))
    np.testing.assert_array_equal(two, [1, 2, 1, 1])


def test_the_currency_hours_are_closes_in_utc() -> None:
    """6,225 hours; each week ends on Friday at 17:00 in New York, in summer time or not."""
    source = find_source("eurusd-1h")
    table = source.history(("EURUSD",), frequency="1h")
    moments = [moment.to_pydatetime() for moment in table["timestamp"].to_pylist()]
    assert (table.schema, table.num_rows, source.calendar) == (BARS_SCHEMA, 6225, "24/5")
    assert moments[0] == datetime(2017, 1, 1, 23, tzinfo=UTC)
    assert moments[-1] == datetime(2017, 12, 29, 22, tzinfo=UTC)
    fridays = {moment.hour for moment in moments if moment.weekday() == 4 and moment.hour > 20}
    assert fridays == {21, 22}
    assert not [moment for moment in moments if moment.weekday() == 5]
    assert (np.diff(table["timestamp"].to_numpy()) >= np.timedelta64(1, "h")).all()
    with pytest.raises(DataError, match=r"'1d'.*1h"):
        source.history(frequency="1d")


@pytest.mark.parametrize(("module", "source"), [(bokeh, "us-tech-ohlcv"), (gym_anytrading, "eurusd-1h")])
def test_packages_are_read_without_importing_them_and_named_when_missing(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, source: str
) -> None:
    """The package that carries the file stays unimported; without it the error says what to install."""
    find_source(source).history()
    assert module.PACKAGE not in sys.modules
    monkeypatch.setattr(module, "FILE", "no/such.csv")
    with pytest.raises(MissingPartError, match="has no file"):
        find_source(source).history()
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPartError, match=r"install alphaloop\[features\]"):
        find_source(source).history()
