"""Live features that drift away from those of training: thresholds, distances, alarms."""

from __future__ import annotations

import numpy as np

from alphaloop.bars import to_datetime
from alphaloop.settings.drift import DriftSettings
from features import FeatureSet, backfill
from features.notebook import bars
from monitoring import DriftMonitor, fit_calibration_on

NAMES = ("return_1", "return_5", "return_21", "volatility_10", "volatility_21", "rsi_14", "bollinger_20")


def main() -> None:
    """Fix thresholds on 2013 to 2018, then watch real stocks go into March 2020."""
    prices = bars("sp500-20", start="2012-06-01", end="2020-06-30")
    frame = backfill(prices, FeatureSet(NAMES))
    training = int(np.searchsorted(frame.timestamps, np.datetime64("2019-01-01")))
    past = backfill(prices.part(0, training), FeatureSet(NAMES))
    calibration = fit_calibration_on(past, DriftSettings(window=10))
    print(
        f"alarm where {calibration.share:.0%} of the features have drifted; "
        f"{calibration.alarms_per_year:.2f} false alarms a year in training"
    )

    monitor = DriftMonitor(calibration)
    for index in range(training, len(frame)):
        result = monitor.observe(to_datetime(frame.timestamps[index]), frame.values[index])
        if result is not None and result.alarm:
            farthest = max(result.distances, key=lambda name: result.distances[name])
            print(f"{result.as_of.date()}: {result.share:.0%} of the features have drifted, most {farthest}")


if __name__ == "__main__":
    main()
