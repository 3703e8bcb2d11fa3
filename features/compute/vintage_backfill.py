"""Backfill of features from vintages, each bar as known at its close."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from alphaloop.bars import to_datetime64
from alphaloop.errors import DataError
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import FeatureSet
from marketdata.point_in_time.vintages import Vintages, round_up_to_microsecond


def backfill_by_vintage(vintages: Vintages, feature_set: FeatureSet) -> FeatureFrame:
    """Compute the features of each bar from what was known at its close.

    Runs one backfill for each stretch between changes of the past, so the cost grows with their number.
    Values equal those of `features.compute.vintage_stream.VintageStream` over the same publications, bit for
    bit where the features promise it.

    Parameters
    ----------
    vintages : Vintages
        Bars with their publication times, and corporate actions.
    feature_set : FeatureSet
        Features to compute.

    Returns
    -------
    FeatureFrame
        float32 values `[timestamps, symbols, features]`.

    Raises
    ------
    DataError
        If no bar was published at its close, or the bars lack a column that a feature needs.
    """
    times = vintages.timestamps()
    if not len(times):
        raise DataError("no bar was published at its close: there is nothing to compute features of")
    moments = [to_datetime64(moment) for moment in vintages.publications_after_effect()]
    cuts = np.searchsorted(times, np.array(moments, dtype="datetime64[ns]"), side="left")
    edges = sorted({0, len(times), *cuts.tolist()})
    parts = []
    for begin, end in pairwise(edges):
        frame = backfill(vintages.as_of(round_up_to_microsecond(times[end - 1])), feature_set)
        parts.append(frame.values[np.searchsorted(frame.timestamps, times[begin:end])])
    return FeatureFrame(
        timestamps=times,
        symbols=vintages.symbols,
        names=feature_set.names,
        values=np.concatenate(parts),
        feature_set=feature_set.hash,
        definition=feature_set.definition,
    )
