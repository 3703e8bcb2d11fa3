"""Labels: what a score is meant to foretell, from the first price at which it can be traded."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from alphaloop.market import FloatMatrix, Timestamps, to_datetime64


def forward_returns(close: FloatMatrix, horizon: int) -> FloatMatrix:
    """Return over `horizon` bars from the bar after the signal's, `[timestamps, symbols]`.

    A signal made at close `t` is filled at close `t + 1` at the earliest, so the label of row `t` is
    `close[t + 1 + horizon] / close[t + 1] - 1`. The last `horizon + 1` rows are NaN: the market has
    not said yet. Raises `ValueError` for a horizon below one bar.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}; it is a number of bars, at least 1")
    labels = np.full(close.shape, np.nan)
    if len(close) > horizon + 1:
        labels[: -horizon - 1] = close[horizon + 1 :] / close[1:-horizon] - 1.0
    return labels


def first_unseen_bar(timestamps: Timestamps, train_last: datetime, horizon: int) -> int:
    """Index of the first bar that lies after the last label of a training that ended at `train_last`.

    The label of the last learned bar ends `horizon + 1` bars later: up to there the training has seen the
    market, and nothing is out of sample.
    """
    return int(np.searchsorted(timestamps, to_datetime64(train_last), "right")) + horizon + 1


def cross_sectional_z_scores(labels: FloatMatrix) -> FloatMatrix:
    """Labels less the mean of their bar, in standard deviations of their bar; NaN stays NaN.

    A bar on which the labels do not vary says nothing about their order: its z-scores are 0.
    """
    present = np.isfinite(labels)
    count = present.sum(axis=1, keepdims=True)
    filled = np.where(present, labels, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centred = np.where(present, labels - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count, 1))
    scores = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return np.where(present, scores, np.nan)
