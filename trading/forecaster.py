"""Sources of forecasts: the prediction server, or an array of scores in a backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps, to_datetime64
from alphaloop.errors import StaleFeaturesError
from alphaloop.forecasts import Forecast, Route, RoutedForecasts, SymbolStatus

if TYPE_CHECKING:
    from serving.client.client import PredictionClient


class Forecaster(Protocol):
    """A source of forecasts for all capital sleeves at one bar."""

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        """Return the forecasts of one bar.

        Parameters
        ----------
        symbols : tuple of str
            Symbols to score.
        as_of : datetime
            Close of the bar.
        sleeves : sequence of str
            Capital sleeves, by which the server chooses the versions that answer.

        Returns
        -------
        RoutedForecasts
            For each sleeve the scores of exactly these symbols at this bar, or the reason why there are none.

        Raises
        ------
        ServingError
            Where the server does not respond in time, or fails for every sleeve.
        StaleFeaturesError
            Where features or scores of the bar are missing.
        """
        ...


@dataclass
class ServedForecaster:
    """Forecasts from a prediction server: one request a bar, with the sleeves as its route keys.

    Parameters
    ----------
    client : PredictionClient
        Client of the server.
    deadline_ms : int
        Milliseconds allowed for a response.
    min_generation : int
        Generation of the rollout document that the server must have read before it responds.
    """

    client: PredictionClient
    deadline_ms: int = 2_000
    min_generation: int = 0

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        """Send one request to the server; raise `ServingError` without a response in time."""
        return self.client.forecasts(
            symbols,
            as_of,
            route_keys=sleeves,
            min_generation=self.min_generation,
            deadline_ms=self.deadline_ms,
        )


@dataclass(frozen=True)
class ArrayForecaster:
    """Forecasts from an array of known scores, the same for every sleeve.

    Parameters
    ----------
    timestamps : ndarray of datetime64[ns], shape [timestamps]
        Bars of the scores.
    symbols : tuple of str
        Symbols of the scores.
    scores : ndarray of float, shape [timestamps, symbols]
        Scores; NaN where a symbol has none.
    model, version : str
        Model and version that the forecasts name.

    Raises
    ------
    ValueError
        Where the shape of the scores differs.

    Examples
    --------
    >>> from datetime import UTC
    >>> days = np.array(["2020-03-16"], dtype="datetime64[ns]")
    >>> forecaster = ArrayForecaster(days, ("AAPL", "IBM"), np.array([[0.5, np.nan]]))
    >>> forecast = forecaster.forecast(("AAPL", "IBM"), datetime(2020, 3, 16, tzinfo=UTC))
    >>> [str(status) for status in forecast.statuses]
    ['ok', 'missing']
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    scores: npt.NDArray[np.floating]
    model: str = "backtest"
    version: str = "0"
    _rows: dict[int, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.timestamps), len(self.symbols)):
            raise ValueError(
                f"scores are {self.scores.shape}; there are {len(self.timestamps)} bars of "
                f"{len(self.symbols)} symbols"
            )
        nanoseconds = self.timestamps.astype("datetime64[ns]").astype(np.int64)
        self._rows.update((int(at), row) for row, at in enumerate(nanoseconds))

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        """Return the row of `as_of` for every sleeve; raise as `forecast` does."""
        return RoutedForecasts(dict.fromkeys(sleeves, self.forecast(symbols, as_of)))

    def forecast(self, symbols: tuple[str, ...], as_of: datetime) -> Forecast:
        """Return the row of `as_of`.

        Parameters
        ----------
        symbols : tuple of str
            Symbols to score.
        as_of : datetime
            Close of the bar.

        Returns
        -------
        Forecast
            Scores of these symbols; `missing` where the array has NaN.

        Raises
        ------
        StaleFeaturesError
            For a bar that the array lacks.
        """
        row = self._rows.get(int(to_datetime64(as_of).astype(np.int64)))
        if row is None:
            raise StaleFeaturesError(f"there are no scores for {as_of.isoformat()}")
        scores = self.scores[row]
        if symbols != self.symbols:
            scores = scores[[self.symbols.index(symbol) for symbol in symbols]]
        return Forecast(
            prediction_id=f"{self.model}/{self.version}/{as_of.isoformat()}",
            as_of=as_of,
            feature_timestamp=as_of,
            symbols=symbols,
            scores=tuple(scores.tolist()),
            statuses=_statuses(scores),
            model=self.model,
            version=self.version,
            digest="",
            route=Route.CHAMPION,
            input_hash="",
            feature_set="",
            snapshot="",
            generation=0,
        )


def _statuses(scores: Sequence[float] | npt.NDArray[np.floating]) -> tuple[SymbolStatus, ...]:
    return tuple(SymbolStatus.OK if known else SymbolStatus.MISSING for known in np.isfinite(scores))
