"""An indicator of one's own, the same in batch and bar by bar.

Named in the settings (`plugins = ["own_indicator.py"]`), this file makes it known to every command.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features import FeatureSet, FeatureStream, Window, backfill, indicator
from features.engine.operator import Operator
from features.notebook import bars

Values = npt.NDArray[np.float64]


def _efficiency(close: Values) -> Values:
    """Compute the ratio of each window's net move to its path, closes `[..., length + 1]`, oldest first."""
    path = np.abs(np.diff(close)).sum(axis=-1)
    move = np.abs(close[..., -1] - close[..., 0])
    ratio: Values = np.divide(move, path, out=np.zeros_like(path), where=path > 0)
    return ratio


@indicator(inputs=("close",), group="own", reference="Kaufman 1995, Smarter Trading")
def efficiency(length: int = 10) -> Operator:
    """Efficiency ratio: 1 for a straight line, near 0 for noise."""
    return Window(_efficiency, length + 1)


def main() -> None:
    """Compute the indicator in batch and in a stream, and compare."""
    prices = bars("us-tech-ohlcv", "AAPL", "MSFT", start="2012-01-03", end="2012-12-31")
    own = FeatureSet(["efficiency(10)", "calm = rank(efficiency(21))"], indicators=[efficiency])

    batch = backfill(prices, own)
    print(
        f"{batch.names[0]}: mean {np.nanmean(batch.values[..., 0]):.3f}, lookback {own.features[0].lookback}"
    )

    stream = FeatureStream(own, prices.symbols, prices.part(0, 200))
    live = np.stack([stream.update(bar) for bar in prices.part(200, len(prices)).slices()])
    difference = np.nanmax(np.abs(live - batch.values[200:]))
    print(f"largest difference of {len(live)} live bars from batch: {difference:.1e}")


if __name__ == "__main__":
    main()
