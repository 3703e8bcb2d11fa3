"""Reference distribution of one feature, and Evidently's distance of live values from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitoring.drift.calibration import MIN_SAMPLE

MIN_NORM = 0.001
"""Smallest unit of the distance, as in Evidently."""


class DriftReference:
    """Training values of one feature, sorted once.

    The distance is Evidently's `wasserstein` test, bit for bit: the integral of the difference of both
    distribution functions, in standard deviations of the reference. Evidently sorts the reference anew for
    every bar and feature, which is what a check of years of bars spends its time on.

    Parameters
    ----------
    values : sequence of float
        Training values; NaN where the feature has none.

    References
    ----------
    .. [1] Ramdas, A., García Trillos, N., Cuturi, M. (2017). On Wasserstein two-sample testing. Entropy 19.
    """

    def __init__(self, values: Sequence[float]) -> None:
        import pandas as pd

        self._sorted = np.sort(np.asarray(values, dtype=np.float64))
        # As Evidently computes it: a Series leaves NaN out, and sums in its own order.
        self._norm = max(float(np.std(pd.Series(values))), MIN_NORM)

    def distance(self, live: npt.NDArray[np.floating]) -> float:
        """Compute the distance of `live` from the reference, in its standard deviations.

        Parameters
        ----------
        live : ndarray of float
            Values of any shape; those that are not finite are left out.

        Returns
        -------
        float
            NaN where `live` has fewer than 50 finite values.
        """
        known = live[np.isfinite(live)]
        if len(known) < MIN_SAMPLE:
            return float("nan")
        sample, reference = np.sort(known.astype(np.float64)), self._sorted
        total = len(reference) + len(sample)
        places = reference.searchsorted(sample, "right") + np.arange(len(sample))
        is_live = np.zeros(total, dtype=np.bool_)
        is_live[places] = True
        merged = np.empty(total)
        merged[places], merged[~is_live] = sample, reference
        # Among equal values the counts are not yet final, but the step to the next value is then zero.
        below_live = np.cumsum(is_live[:-1])
        below_reference = np.arange(1, total) - below_live
        apart = np.abs(below_reference / len(reference) - below_live / len(sample))
        return float(np.vecdot(apart, np.diff(merged)) / self._norm)
