"""The executor: trades one book on the bars that the streamer stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alphaloop.bars import Slice
from loop.daemons.metered_forecaster import MeteredForecaster
from trading.engine import BarOutcome, TradingEngine


@dataclass(slots=True)
class BookExecutor:
    """Executor of one book: requests forecasts, decides, journals and sends, bar by bar.

    Parameters
    ----------
    engine : TradingEngine
        Engine that decides and trades.
    forecaster : MeteredForecaster
        Client of the prediction server, the one of `engine`.
    generation : callable
        Returns the generation of the newest rollout document, which the server must have read.
    """

    engine: TradingEngine
    forecaster: MeteredForecaster
    generation: Callable[[], int]

    def on_bar(self, bars: Slice) -> BarOutcome:
        """Trade on `bars`, as `TradingEngine.on_bar` does, on the newest rollout document."""
        self.forecaster.require(self.generation())
        return self.engine.on_bar(bars)
