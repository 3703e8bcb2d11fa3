"""Rank agreement: correlation of a candidate's out-of-sample ranks with the champion's.

Two honest models may agree little, and so may a refit of the same family and its predecessor. The expectation
for live trading is therefore not one number but the range in the walk-forward tests against the same
champion's file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alphaloop.bars import FloatMatrix
from alphaloop.statistics.information_coefficient import information_coefficients
from features.compute.batch import FeatureFrame
from models.dataset import complete_windows
from models.evaluation.walk_forward import summarise_distribution
from models.onnx.export import open_session, run_session
from models.registry.card import Card
from models.registry.model_registry import Registry


def rank_agreement(
    scores: FloatMatrix, frame: FeatureFrame, champion: Card, registry: Registry
) -> dict[str, Any] | None:
    """Compute the distribution of the rank correlation of `scores` with the champion's, bar by bar.

    `scores` are out of sample, `[timestamps, symbols]` on the bars of `frame`, NaN outside the tests. The
    result also has the digest of the champion's file, as `champion`. None where the registry does not hold
    that file, or it needs other features, or symbols that are missing.
    """
    seen = np.array(champion.places(frame.symbols), dtype=np.intp)
    lacking = champion.cross_sectional and len(seen) < len(champion.universe)
    if champion.feature_set != frame.feature_set or lacking:
        return None
    version = next(
        (
            one
            for one in reversed(registry.versions(champion.model))
            if registry.card(champion.model, one).digest == champion.digest
        ),
        None,
    )
    if version is None:
        return None
    session = open_session(registry.onnx(champion.model, version))
    tested = np.flatnonzero(np.isfinite(scores).any(axis=1))
    complete = complete_windows(frame.values[:, seen], tested, champion.lookback)
    champion_scores = np.full((len(tested), scores.shape[1]), np.nan)
    for row, bar in enumerate(tested):
        if complete[row].any():
            inputs = seen[complete[row]]
            champion_scores[row, inputs] = run_session(
                session, frame.window(int(bar), champion.lookback)[inputs]
            )
    correlations = summarise_distribution(information_coefficients(scores[tested], champion_scores))
    return {"champion": champion.digest, **correlations}
