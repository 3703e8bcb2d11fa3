"""Forecasts of one bar: one request for all sleeves, with equal forecasts stored once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from alphaloop.clock import monotonic
from alphaloop.errors import ServingError, StaleFeaturesError
from alphaloop.forecasts import Forecast, Route, RoutedForecasts, SymbolStatus
from trading.forecaster import Forecaster
from trading.risk.risk_check import Refusal


@dataclass(frozen=True, slots=True)
class SharedForecast:
    """One forecast, with the sleeves that received it and their prediction ids."""

    forecast: Forecast
    prediction_ids: dict[str, str]

    def by_sleeve(self) -> dict[str, Forecast]:
        """Return the forecast of each sleeve, with its own prediction id."""
        return {name: replace(self.forecast, prediction_id=one) for name, one in self.prediction_ids.items()}

    def to_body(self) -> dict[str, Any]:
        """Convert to plain values for the journal; a missing score is `None`."""
        one = self.forecast
        return {
            "as_of": one.as_of.isoformat(),
            "feature_timestamp": one.feature_timestamp.isoformat(),
            "symbols": list(one.symbols),
            "scores": _plain(one.scores),
            "statuses": [status.value for status in one.statuses],
            "model": one.model,
            "version": one.version,
            "digest": one.digest,
            "route": one.route.value,
            "input_hash": one.input_hash,
            "feature_set": one.feature_set,
            "snapshot": one.snapshot,
            "generation": one.generation,
            "prediction_ids": self.prediction_ids,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> SharedForecast:
        """Restore what `to_body` wrote."""
        ids = dict(body["prediction_ids"])
        stored = {field.name: body[field.name] for field in fields(Forecast) if field.name in body}
        forecast = Forecast(
            **stored
            | {
                "prediction_id": next(iter(ids.values()), ""),
                "as_of": datetime.fromisoformat(body["as_of"]),
                "feature_timestamp": datetime.fromisoformat(body["feature_timestamp"]),
                "symbols": tuple(body["symbols"]),
                "scores": tuple(math.nan if score is None else score for score in body["scores"]),
                "statuses": tuple(SymbolStatus(status) for status in body["statuses"]),
                "route": Route(body["route"]),
            }
        )
        return cls(forecast, ids)


def group_forecasts(forecasts: Mapping[str, Forecast]) -> tuple[SharedForecast, ...]:
    """Group sleeves with the same forecast, whatever their prediction ids."""
    answers: dict[tuple[Any, ...], SharedForecast] = {}
    for sleeve, forecast in forecasts.items():
        key = (
            forecast.model,
            forecast.version,
            forecast.digest,
            forecast.route,
            forecast.generation,
            forecast.feature_timestamp,
            forecast.input_hash,
            forecast.feature_set,
            forecast.snapshot,
            tuple(_plain(forecast.scores)),
            forecast.statuses,
        )
        answer = answers.setdefault(key, SharedForecast(forecast, {}))
        answer.prediction_ids[sleeve] = forecast.prediction_id
    return tuple(answers.values())


def request_forecasts(
    forecaster: Forecaster,
    symbols: tuple[str, ...],
    as_of: datetime,
    sleeves: Sequence[str],
    deadline_ms: int | None,
) -> tuple[dict[str, Forecast], list[Refusal]]:
    """Request the forecasts of all sleeves at once; failures and late responses are refusals."""
    started = monotonic()
    try:
        routed = forecaster.forecasts(symbols, as_of, sleeves)
    except (ServingError, StaleFeaturesError) as error:
        routed = RoutedForecasts({}, dict.fromkeys(sleeves, str(error)))
    overdue = deadline_ms is not None and (monotonic() - started) * 1_000 > deadline_ms
    forecasts: dict[str, Forecast] = {}
    reasons: dict[str, str] = {}
    for sleeve in sleeves:
        forecast = routed.forecasts.get(sleeve)
        if forecast is None:
            reasons[sleeve] = routed.failures.get(sleeve, "the response names no answer for this sleeve")
        elif forecast.symbols != symbols or forecast.as_of != as_of:
            reasons[sleeve] = f"the answer is for {forecast.symbols} as of {forecast.as_of}"
        else:
            forecasts[sleeve] = forecast
    refusals = []
    if reasons:
        reason = f"{next(iter(reasons.values()))}: reduce-only"
        refusals.append(Refusal("no_forecast", reason, tuple(reasons)))
    if overdue and forecasts:
        reason = f"the forecasts were not there within {deadline_ms} ms: reduce-only"
        refusals.append(Refusal("prediction_deadline", reason, tuple(forecasts)))
        forecasts = {}
    return forecasts, refusals


def _plain(scores: Sequence[float]) -> list[float | None]:
    return [score if math.isfinite(score) else None for score in scores]
