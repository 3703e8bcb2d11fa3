"""The ONNX engine: only faithful graphs are loaded, and only finite scores come out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import DamagedStoreError, ServingError, UnknownNameError
from serving.inference.model_cache import LoadedModel, ModelCache


def loaded(shelf: Any, version: str, **changes: Any) -> LoadedModel:
    """A version of the shelf, with its card changed."""
    card = replace(shelf.registry.card(shelf.name, version), **changes)
    return LoadedModel(shelf.name, version, card, shelf.registry.onnx(shelf.name, version))


def test_a_file_of_another_digest_is_refused(shelf: Any) -> None:
    """A graph that is not the one on the card is not served."""
    version = shelf.add(1.0, 0.0, 0.0)
    with pytest.raises(DamagedStoreError, match=r"digest is \w{12}, its card says 000000000000"):
        loaded(shelf, version, digest="0" * 64)


@pytest.mark.parametrize("changes", [{"lookback": 5}, {"features": ("return_1",)}])
def test_a_graph_of_another_shape_is_refused(shelf: Any, changes: dict[str, Any]) -> None:
    """A card that promises other inputs than the graph takes is refused at load, not at a request."""
    version = shelf.add(1.0, 0.0, 0.0)
    with pytest.raises(ServingError, match="its card says panel"):
        loaded(shelf, version, **changes)


def test_a_file_that_is_no_graph_is_refused(shelf: Any) -> None:
    """Bytes that ONNX Runtime cannot read are an error that names the version."""
    import hashlib

    card = shelf.registry.card(shelf.name, shelf.add(1.0, 0.0, 0.0))
    digest = hashlib.sha256(b"nothing").hexdigest()
    with pytest.raises(ServingError, match="version 1 is not a graph that ONNX Runtime takes"):
        LoadedModel(shelf.name, "1", replace(card, digest=digest), b"nothing")


def test_missing_values_mask_their_symbol_alone(shelf: Any) -> None:
    """A NaN anywhere in a symbol's window takes its score, and the others keep theirs to the bit."""
    model = loaded(shelf, shelf.add(1.0, 2.0, 3.0))
    panel = np.random.default_rng(3).normal(size=(4, 2, 3)).astype(np.float32)
    whole = model.score(panel)
    panel[1, 0, 2], panel[3, 1, 0] = np.nan, np.inf
    assert np.array_equal(
        model.score(panel), np.where([True, False, True, False], whole, np.nan), equal_nan=True
    )
    assert np.isnan(model.score(np.full_like(panel, np.nan))).all()


def test_a_graph_that_fails_is_an_error_of_serving(shelf: Any) -> None:
    """ONNX Runtime's own exception does not leave the engine."""
    model = loaded(shelf, shelf.add(1.0, 2.0, 3.0))
    with pytest.raises(ServingError, match="version 1 failed"):
        model.score(np.zeros((2, 2, 5), np.float32))


def test_scores_of_another_shape_are_an_error(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that does not give one score a symbol is not believed."""
    model = loaded(shelf, shelf.add(1.0, 2.0, 3.0))
    monkeypatch.setattr(model, "_run", lambda panel: np.zeros((len(panel), 1), np.float32))
    with pytest.raises(ServingError, match=r"scores of shape \(2, 1\) for 2 symbols"):
        model.score(np.zeros((2, 2, 3), np.float32))


def test_a_version_is_loaded_once_while_it_is_used(shelf: Any) -> None:
    """Of more versions than the capacity, the one unused for longest goes."""
    versions = [shelf.add(float(weight), 0.0, 0.0) for weight in range(3)]
    engine = ModelCache(shelf.registry, capacity=2)
    for version in (*versions[:2], versions[0], versions[2]):
        engine.load(shelf.name, version)
    assert [engine.is_loaded(shelf.name, version) for version in versions] == [True, False, True]


def test_a_version_in_use_stays_beyond_the_capacity(shelf: Any) -> None:
    """What a rollout holds is answered at once, however many others were loaded since."""
    versions = [shelf.add(float(weight), 0.0, 0.0) for weight in range(4)]
    engine = ModelCache(shelf.registry, capacity=1)
    held = engine.load(shelf.name, versions[0])
    for version in versions[1:]:
        engine.load(shelf.name, version)
    assert engine.is_loaded(shelf.name, versions[0])
    assert engine.load(shelf.name, versions[0]) is held


def test_an_unknown_version_is_named(shelf: Any) -> None:
    """A version that does not exist is an error that lists those that do."""
    shelf.add(1.0, 0.0, 0.0)
    with pytest.raises(UnknownNameError, match=r"unknown version '2'.*known: 1"):
        ModelCache(shelf.registry).load(shelf.name, "2")


def test_a_large_panel_is_scored_in_runs_of_a_bounded_size(shelf: Any, count_runs: Any) -> None:
    """The scores of 1,300 symbols are those of each alone, and no run is given more than 512 symbols."""
    version = loaded(shelf, shelf.add(1.0, -2.0, 0.5))
    panel = np.random.default_rng(4).normal(size=(1_300, 2, 3)).astype(np.float32)
    sizes = count_runs(version)
    scores = version.score(panel)
    assert sizes == [512, 512, 276]
    assert scores.tobytes() == np.concatenate([version._run(one[None]) for one in panel]).tobytes()


def test_symbols_that_are_compared_are_scored_in_one_run(shelf: Any, count_runs: Any) -> None:
    """Where scores depend on each other the graph is given all symbols of a request at once."""
    version = loaded(shelf, shelf.add(1.0, -2.0, 0.5), cross_sectional=True)
    sizes = count_runs(version)
    version.score(np.ones((600, 2, 3), np.float32))
    assert sizes == [600]
