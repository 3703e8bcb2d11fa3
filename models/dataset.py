"""Datasets: features, labels, and the bars that may be used for learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix, to_datetime
from alphaloop.errors import DataError
from features.compute.batch import FeatureFrame
from models.labels import cross_sectional_z_scores, forward_returns

Panel = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Features and labels of the same bars, and the bars to learn from.

    Parameters
    ----------
    frame : FeatureFrame
        Features, float32 `[timestamps, symbols, features]`.
    labels : ndarray of float64, shape [timestamps, symbols]
        Returns over `horizon` bars from the obtainable price; NaN where not known yet.
    horizon : int
        Bars from the obtainable fill to the end of the label.
    rows : range
        Indices of the bars that may be used for learning.

    Raises
    ------
    ValueError
        Where labels and features differ in shape, or `rows` lie outside the bars.
    """

    frame: FeatureFrame
    labels: FloatMatrix
    horizon: int
    rows: range

    def __post_init__(self) -> None:
        if self.labels.shape != self.frame.values.shape[:2]:
            shapes = f"{self.labels.shape} and {self.frame.values.shape}"
            raise ValueError(f"labels and features do not match: {shapes}")
        if len(self.rows) and not 0 <= self.rows[0] <= self.rows[-1] < len(self.labels):
            raise ValueError(f"rows {self.rows} lie outside the {len(self.labels)} bars")

    def only(self, rows: range) -> Dataset:
        """Return the same data with other bars for learning."""
        return replace(self, rows=rows)

    def samples(
        self, lookback: int, *, every: int = 1
    ) -> tuple[Panel, npt.NDArray[np.float32], Indices, Indices]:
        """Collect samples of complete inputs and known labels.

        Parameters
        ----------
        lookback : int
            Rows of features in one sample.
        every : int
            Take each n-th bar, counted from the last: labels of neighbouring bars overlap and add little.

        Returns
        -------
        inputs : ndarray of float32, shape [samples, lookback, features]
            Features, without NaN.
        targets : ndarray of float32, shape [samples]
            Z-score of the label among the symbols of its bar.
        bars, symbols : ndarray of intp, shape [samples]
            Bar and symbol index of each sample.

        Raises
        ------
        DataError
            Where no sample is complete.
        """
        bars = np.arange(self.rows.start, self.rows.stop)[::-1][::every][::-1]
        bars = bars[bars >= lookback - 1]
        targets = cross_sectional_z_scores(self.labels[bars])
        usable = np.isfinite(targets) & complete_windows(self.frame.values, bars, lookback)
        row, symbol = np.nonzero(usable)
        if len(row) == 0:
            raise DataError(
                f"no bar of {len(self.rows)} has {lookback} complete rows of features and a known label; "
                "give more history"
            )
        return (
            feature_windows(self.frame.values, bars[row], symbol, lookback),
            targets[row, symbol].astype(np.float32),
            bars[row],
            symbol,
        )


def make_dataset(frame: FeatureFrame, close: FloatMatrix, horizon: int, rows: range | None = None) -> Dataset:
    """Make a dataset from features and prices.

    Parameters
    ----------
    frame : FeatureFrame
        Features of the bars.
    close : ndarray of float64, shape [timestamps, symbols]
        Adjusted closes of the same bars.
    horizon : int
        Bars from the obtainable fill to the end of the label, at least 1.
    rows : range, optional
        Indices of the bars that may be used for learning; all by default.

    Returns
    -------
    Dataset
        Features with forward returns as labels; NaN at bars at which a symbol was outside the universe.

    Raises
    ------
    ValueError
        For a horizon below one bar, or shapes that differ.
    """
    labels = forward_returns(close, horizon)
    if frame.outside is not None:
        labels = np.where(frame.outside, np.nan, labels)
    return Dataset(frame, labels, horizon, range(len(labels)) if rows is None else rows)


def complete_windows(values: Panel, bars: Indices, lookback: int) -> npt.NDArray[np.bool_]:
    """Test whether the `lookback` rows up to each bar have no NaN, `[bars, symbols]`."""
    missing = ~np.isfinite(values).all(axis=2)
    gaps = np.concatenate([np.zeros((1, values.shape[1]), dtype=np.intp), np.cumsum(missing, axis=0)])
    start = bars - lookback + 1
    counted = gaps[bars + 1] - gaps[np.maximum(start, 0)]
    return np.asarray((counted == 0) & (start >= 0)[:, None])


def feature_windows(values: Panel, bars: Indices, symbols: Indices, lookback: int) -> Panel:
    """Gather the `lookback` rows of features up to each bar, float32 `[samples, lookback, features]`."""
    steps = np.arange(-lookback + 1, 1)
    return np.ascontiguousarray(values[bars[:, None] + steps, symbols[:, None]])


@dataclass(frozen=True, slots=True)
class PanelBar:
    """The bar of a panel, and its symbols in the order of the panel's rows."""

    as_of: datetime
    symbols: tuple[str, ...]


def complete_panels(frame: FeatureFrame, lookback: int, count: int) -> list[Panel]:
    """Return up to `count` panels `[symbols, lookback, features]`, evenly spaced in time.

    Symbols with incomplete features are left out of a panel.
    """
    return [frame.window(bar, lookback)[rows] for bar, rows in _complete_bars(frame, lookback, count)]


def panel_bars(frame: FeatureFrame, lookback: int, count: int) -> list[PanelBar]:
    """Return the bar and the symbols of each of the `complete_panels`."""
    return [
        PanelBar(to_datetime(frame.timestamps[bar]), tuple(compress(frame.symbols, rows)))
        for bar, rows in _complete_bars(frame, lookback, count)
    ]


def _complete_bars(frame: FeatureFrame, lookback: int, count: int) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """Choose up to `count` bars with two complete symbols or more, each with a flag a symbol."""
    bars = np.arange(len(frame.timestamps))
    complete = complete_windows(frame.values, bars, lookback)
    usable = bars[complete.sum(axis=1) > 1]
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(np.intp))
    return [(int(bar), complete[bar]) for bar in usable[chosen]]
