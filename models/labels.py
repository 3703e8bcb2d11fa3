"""Labels: the outcome that a score predicts, from the first obtainable price on."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from alphaloop.bars import FloatMatrix, Timestamps, to_datetime64
from alphaloop.decision.returns import forward_returns

__all__ = ["cross_sectional_z_scores", "first_unseen_bar", "forward_returns"]


def first_unseen_bar(timestamps: Timestamps, train_last: datetime, horizon: int) -> int:
    """Return the index of the first bar after the last label of a training.

    The last training bar is at `train_last`, and its label ends `horizon + 1` bars later: up to there the
    training has seen the market, and no bar is out of sample.
    """
    return int(np.searchsorted(timestamps, to_datetime64(train_last), "right")) + horizon + 1


def cross_sectional_z_scores(labels: FloatMatrix) -> FloatMatrix:
    """Standardise the labels of each bar by their mean and standard deviation; NaN stays NaN.

    A bar on which the labels do not vary says nothing about their order, so that its z-scores are 0.
    """
    present = np.isfinite(labels)
    count = present.sum(axis=1, keepdims=True)
    filled = np.where(present, labels, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centred = np.where(present, labels - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count, 1))
    scores = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return np.where(present, scores, np.nan)
