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
from alphaloop.forecasts import Forecast, Route, SymbolStatus

if TYPE_CHECKING:
    from serving.client.client import PredictionClient


class Forecaster(Protocol):
    """A source of forecasts for one sleeve at one bar."""

    def forecast(self, symbols: tuple[str, ...], as_of: datetime, sleeve: str) -> Forecast:
        """Return a forecast for one sleeve at one bar.

        Parameters
        ----------
        symbols : tuple of str
            Symbols to score.
        as_of : datetime
            Close of the bar.
        sleeve : str
            Capital sleeve, by which the server routes the request.

        Returns
        -------
        Forecast
            Scores of exactly these symbols at this bar.

        Raises
        ------
        ServingError
            Where the server does not respond in time, or fails.
        StaleFeaturesError
            Where features or scores of the bar are missing.
        """
        ...


@dataclass
class ServedForecaster:
    """Forecasts from a prediction server, with the sleeve as the route key.

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

    def forecast(self, symbols: tuple[str, ...], as_of: datetime, sleeve: str) -> Forecast:
        """Send one request to the server; raise `ServingError` without a response in time."""
        return self.client.forecast(
            symbols,
            as_of,
            route_key=sleeve,
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
    >>> forecast = forecaster.forecast(("AAPL", "IBM"), datetime(2020, 3, 16, tzinfo=UTC), "sleeve-00")
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

    def forecast(self, symbols: tuple[str, ...], as_of: datetime, sleeve: str) -> Forecast:
        """Return the row of `as_of`; raise `StaleFeaturesError` for a bar that the array lacks."""
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
