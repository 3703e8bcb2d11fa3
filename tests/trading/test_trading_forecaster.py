"""Forecasters: the array of a backtest, and the adapter to the server's client."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest

from alphaloop.errors import StaleFeaturesError
from alphaloop.forecasts import SymbolStatus
from trading.forecaster import ArrayForecaster, ServedForecaster
from trading.forecasts import SharedForecast, group_forecasts


def test_an_array_answers_for_exactly_the_bar(make_bars):
    """The row of the bar comes back, in the order asked, missing scores masked; other bars are refused."""
    bars = make_bars(count=3, symbols=3)
    scores = np.arange(9.0).reshape(3, 3)
    scores[1, 2] = np.nan
    forecaster = ArrayForecaster(bars.timestamps, bars.symbols, scores)
    answer = forecaster.forecast(("S02", "S00"), bars.at(1).timestamp)
    assert answer.scores[1] == 3.0
    assert math.isnan(answer.scores[0])
    assert answer.statuses == (SymbolStatus.MISSING, SymbolStatus.OK)
    assert answer.feature_timestamp == answer.as_of == bars.at(1).timestamp
    with pytest.raises(StaleFeaturesError, match="2019-01-03T22"):
        forecaster.forecast(bars.symbols, bars.at(1).timestamp + timedelta(hours=1))


def test_scores_of_another_shape_are_refused(make_bars):
    """Scores that do not fit the bars are an error when the forecaster is made."""
    bars = make_bars(count=3, symbols=3)
    with pytest.raises(ValueError, match=r"\(2, 3\); there are 3 bars of 3 symbols"):
        ArrayForecaster(bars.timestamps, bars.symbols, np.zeros((2, 3)))


def test_the_adapter_asks_once_with_the_sleeves_as_route_keys(make_bars):
    """Sleeves, deadline and rollout generation reach the client as it wants them, in one call."""
    bars = make_bars(count=3, symbols=3)
    array = ArrayForecaster(bars.timestamps, bars.symbols, np.zeros((3, 3)))
    asked = []

    class Client:
        def forecasts(self, symbols, as_of, route_keys, min_generation=0, deadline_ms=None):
            asked.append((symbols, as_of, route_keys, min_generation, deadline_ms))
            return array.forecasts(symbols, as_of, route_keys)

    forecaster = ServedForecaster(Client(), deadline_ms=7)
    forecaster.min_generation = 4
    at, sleeves = bars.at(2).timestamp, ("sleeve-03", "sleeve-04")
    routed = forecaster.forecasts(bars.symbols, at, sleeves)
    assert {sleeve: one.as_of for sleeve, one in routed.forecasts.items()} == dict.fromkeys(sleeves, at)
    assert asked == [(bars.symbols, at, sleeves, 4, 7)]


def test_equal_answers_are_kept_once_and_read_back_whole(make_bars, divided):
    """Sleeves told the same share one answer under their own prediction ids, and it survives the journal."""
    bars = make_bars(count=2, symbols=3)
    forecaster, at = divided(bars), bars.at(1).timestamp
    sleeves = [f"sleeve-{n:02d}" for n in range(5)]
    answers = group_forecasts(forecaster.forecasts(bars.symbols, at, sleeves).forecasts)
    assert [list(answer.prediction_ids) for answer in answers] == [sleeves[:2], sleeves[2:]]
    assert answers[1].prediction_ids["sleeve-04"].endswith("sleeve-04")
    assert [SharedForecast.from_body(answer.to_body()) for answer in answers] == list(answers)


def test_missing_scores_do_not_keep_equal_answers_apart(make_bars):
    """NaN differs from itself, but two answers with the same gap are the same answer."""
    bars = make_bars(count=2, symbols=3)
    scores = np.array([[1.0, np.nan, 2.0]] * 2)
    one, other = (
        ArrayForecaster(bars.timestamps, bars.symbols, some).forecast(bars.symbols, bars.at(0).timestamp)
        for some in (scores, scores.copy())
    )
    (answer,) = group_forecasts({"a": one, "b": other})
    body = answer.to_body()
    assert body["scores"] == [1.0, None, 2.0]
    assert math.isnan(SharedForecast.from_body(body).forecast.scores[1])
