"""Layer 0 on a model whose scores depend on each other: recomputed on its own universe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.feature_set import DEFAULT
from rollouts.evidence.score_parity import ScoreRecomputation

Graph = Callable[[int, int], bytes]
INDEX = 2_000


@pytest.fixture
def relative(universe: Any, z_score_onnx: Graph) -> str:
    """A version that scores five of the eight symbols, in an order of its own."""
    content = z_score_onnx(len(universe.frame.names), 0)
    model = universe.settings.serving.model
    card = replace(
        universe.registry.card(model, "1"), universe=universe.bars.symbols[5:0:-1], cross_sectional=True,
        family="z_score", digest=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    return str(universe.registry.register(model, content, card))


def expected(universe: Any) -> dict[str, float]:
    """The z-score of the first feature among the five."""
    values = universe.frame.values[INDEX, 1:6, 0].astype(np.float64)
    scores = (values - values.mean()) / values.std()
    return dict(zip(universe.bars.symbols[1:6], scores.tolist(), strict=True))


def test_scores_are_recomputed_among_the_models_universe(universe: Any, relative: str) -> None:
    """Bars of more symbols change no score, and symbols outside the universe have none."""
    recomputation = ScoreRecomputation(universe.registry, DEFAULT)
    frames = recomputation.frames(universe.bars)
    scores = recomputation.scores(universe.settings.serving.model, relative, frames, INDEX)
    assert np.isnan(scores[[0, 6, 7]]).all()
    np.testing.assert_allclose(scores[1:6], list(expected(universe).values()), rtol=1e-4, atol=1e-5)


def test_a_logged_subset_follows_from_the_whole_universe(universe: Any, relative: str) -> None:
    """An answer for some symbols, one of them strange to the model, is recomputed to the last digits."""
    known = expected(universe)
    asked = (*universe.bars.symbols[2:4], universe.bars.symbols[7], "NOBODY")
    scores = np.array([known.get(symbol, np.nan) for symbol in asked])
    row = replace(universe.row(INDEX, relative, "champion", scores), symbols=asked)
    recomputation = ScoreRecomputation(universe.registry, DEFAULT)
    frames = recomputation.frames(universe.bars)
    assert recomputation.difference(row, frames) < 1e-4
    among_two = np.array([1.0, -1.0, np.nan, np.nan])
    assert recomputation.difference(replace(row, scores=tuple(among_two)), frames) > 0.01
    invented = replace(row, scores=(*scores[:3].tolist(), 0.5))
    assert recomputation.difference(invented, frames) == float("inf")
