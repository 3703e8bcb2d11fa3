"""Fidelity: an ONNX file that is not its model is seen, on scores and on orders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.strategy import StrategyView
from alphaloop.errors import FidelityError, StrategyError
from models.dataset import Dataset, Panel, PanelBar, complete_panels, make_dataset, panel_bars
from models.family import Scores
from models.onnx import onnx_graph
from models.onnx.export import Fidelity, check_fidelity, export_onnx, open_session, run_session
from models.zoo import registry
from models.zoo.trees.lightgbm import (
    ZERO_THRESHOLD,
    booster_to_onnx,
    exact_float32,
    native_parameters,
    rows_around_thresholds,
)

MONDAY = datetime(2020, 3, 16, 20, tzinfo=UTC)
QUICK = {"lightgbm": {"trees": 40, "minimum_leaf": 50}, "transformer": {"epochs": 1, "every": 10}}


def fit(name: str, dataset: Dataset) -> Any:
    family = registry.find_family(name)
    return family.fit(dataset, family.default_parameters() | QUICK.get(name, {}), 3)


def named(panels: list[Panel]) -> list[PanelBar]:
    """A bar and symbols for each panel."""
    return [PanelBar(MONDAY, tuple(f"S{row}" for row in range(len(panel)))) for panel in panels]


def compare(name: str, fitted: Any, content: bytes, panels: list[Panel]) -> Fidelity:
    return check_fidelity(
        fitted,
        content,
        panels,
        bars=named(panels),
        family=registry.find_family(name),
        strategy=AllocationStrategy(),
    )


@dataclass(frozen=True)
class Winner:
    """All of the capital in the best score; it knows the symbols of `known` and no others."""

    known: tuple[str, ...]
    still: bool = False
    name: ClassVar[str] = "winner"

    def weights(self, view: StrategyView) -> Any:
        if not set(view.symbols) <= set(self.known):
            raise LookupError(view.symbols)
        if self.still:
            return view.current
        return {view.symbols[int(np.argmax(view.scores))]: 1.0}


@pytest.fixture(scope="module")
def dataset(market: Any) -> Dataset:
    return make_dataset(market.frame, market.bars.adjusted_close, 5)


def test_orders_are_compared_by_the_strategy_that_trades(dataset: Dataset) -> None:
    """A wrong file leads to other orders of one that trades, to those of one that never does, and is refused.

    A strategy that does not know the symbols of the training is named.
    """
    fitted: Any = fit("momentum", dataset)
    wrong = type(fitted)((fitted.column + 1) % fitted.features, fitted.features).to_onnx()
    panels, bars = complete_panels(dataset.frame, 1, 20), panel_bars(dataset.frame, 1, 20)

    def compared(content: bytes, strategy: Any) -> Fidelity:
        family = registry.find_family("momentum")
        return check_fidelity(fitted, content, panels, bars=bars, family=family, strategy=strategy)

    winner = Winner(dataset.frame.symbols)
    assert compared(fitted.to_onnx(), winner).passed
    assert not compared(wrong, winner).orders_equal
    still = compared(wrong, replace(winner, still=True))
    assert still.orders_equal and not still.passed
    with pytest.raises(StrategyError, match="strategy 'winner' failed on the bar of 20"):
        compared(fitted.to_onnx(), Winner(()))


@pytest.mark.parametrize("name", ["momentum", "lightgbm", "transformer"])
def test_every_family_exports_itself_faithfully(name: str, dataset: Dataset) -> None:
    """The file gives the native scores, the same orders, for any number of symbols, twice the same."""
    fitted = fit(name, dataset)
    panels = complete_panels(dataset.frame, registry.find_family(name).lookback, 40)
    exported = export_onnx(fitted)
    found = compare(name, fitted, exported.onnx, panels)
    assert found.passed and found.max_abs_diff < 2e-6, found
    assert found.rows >= 40 * 12
    session = open_session(exported.onnx)
    assert [(one.name, one.shape[0], one.type) for one in session.get_inputs()] == [
        ("panel", "symbols", "tensor(float)")
    ]
    assert [(one.name, one.shape, one.type) for one in session.get_outputs()] == [
        ("scores", ["symbols"], "tensor(float)")
    ]
    assert run_session(session, panels[0][:1]).shape == (1,)
    np.testing.assert_array_equal(run_session(session, panels[0]), run_session(session, panels[0]))
    assert export_onnx(fit(name, dataset)).digest == exported.digest
    assert b"/site-packages/" not in exported.onnx and b"models/zoo" not in exported.onnx


@dataclass(frozen=True)
class NaiveTrees:
    """LightGBM converted as the libraries' documentation shows it: thresholds become float32."""

    booster: Any

    def predict(self, panel: Panel) -> Scores:
        return np.asarray(self.booster.predict(panel[:, -1]), dtype=np.float32)

    def to_onnx(self) -> bytes:
        return booster_to_onnx(self.booster, self.booster.num_feature())

    def hard_inputs(self, panel: Panel) -> Panel:
        return rows_around_thresholds(self.booster, panel)


@pytest.fixture(scope="module")
def raw_values(dataset: Dataset) -> Dataset:
    """Features as large raw numbers with small ticks, such as volumes and index levels."""
    values = dataset.frame.values.copy()
    values[:, :, 0] = 1e8 + 8 * np.round(4 * values[:, :, 0])
    values[:, :, 1] = 30_000 + 0.002 * np.round(4 * values[:, :, 1])
    return replace(dataset, frame=replace(dataset.frame, values=values))


def test_a_float32_threshold_bug_is_refused(raw_values: Dataset) -> None:
    """Trees on large raw values, converted naively, misplace rows without an error; the proof sees it."""
    import lightgbm

    inputs, targets, _, _ = raw_values.samples(1)
    parameters = registry.find_family("lightgbm").default_parameters() | QUICK["lightgbm"]
    booster = lightgbm.train(
        native_parameters(parameters, 3), lightgbm.Dataset(inputs[:, -1], targets), num_boost_round=40
    )
    naive = NaiveTrees(booster)
    found = compare("lightgbm", naive, naive.to_onnx(), complete_panels(raw_values.frame, 1, 40))
    assert not found.passed and found.max_abs_diff > 1e-3
    assert not found.orders_equal
    assert "differ by" in found.reasons[0] and "other orders" in found.reasons[1]
    with pytest.raises(FidelityError, match="ONNX and native scores differ"):
        found.require()


def test_our_trees_survive_the_same_values(raw_values: Dataset) -> None:
    """With thresholds moved to the float32 that splits alike, the same raw values export exactly."""
    fitted = fit("lightgbm", raw_values)
    found = compare("lightgbm", fitted, fitted.to_onnx(), complete_panels(raw_values.frame, 1, 40))
    assert found.passed and found.max_abs_diff < 1e-6 and found.hard_rows > 100
    found.require()


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=300, deadline=None)
@given(threshold=st.floats(-1e30, 1e30), value=finite)
def test_a_moved_threshold_splits_every_float32_as_before(threshold: float, value: float) -> None:
    """For any threshold, any float32 goes the same way as in LightGBM, which reads tiny ones as zero."""
    for near in (value, *(np.nextafter(np.float32(threshold), np.float32(side)) for side in (-1e38, 1e38))):
        single = np.float32(near)
        read = np.float64(0.0) if abs(single) <= ZERO_THRESHOLD else np.float64(single)
        assert bool(single <= exact_float32(np.array([threshold]))[0]) == bool(read <= threshold)


@pytest.mark.parametrize(
    "threshold", [0.0, 1e-36, -1e-36, float(ZERO_THRESHOLD), -float(ZERO_THRESHOLD), 1e-40]
)
def test_thresholds_at_zero_split_as_before(threshold: float) -> None:
    """Around zero too, where LightGBM's own zero is wider than that of ONNX."""
    tiny = [
        np.nextafter(ZERO_THRESHOLD, np.float32(0)),
        ZERO_THRESHOLD,
        np.nextafter(ZERO_THRESHOLD, np.float32(1)),
    ]
    for single in (np.float32(0), *tiny, *(-one for one in tiny)):
        read = np.float64(0.0) if abs(single) <= ZERO_THRESHOLD else np.float64(single)
        assert bool(single <= exact_float32(np.array([threshold]))[0]) == bool(read <= threshold)


def test_trees_without_a_split_are_exported_too(dataset: Dataset) -> None:
    """Too little data for any split gives one constant score, in the file as well."""
    fitted = registry.find_family("lightgbm").fit(
        dataset,
        registry.find_family("lightgbm").default_parameters() | {"minimum_leaf": 10**6, "trees": 3},
        3,
    )
    panels = complete_panels(dataset.frame, 1, 5)
    assert np.unique(np.concatenate([fitted.predict(panel) for panel in panels])).size == 1
    assert compare("lightgbm", fitted, fitted.to_onnx(), panels).passed


def test_a_file_that_cannot_run_is_as_far_as_can_be(dataset: Dataset) -> None:
    """Bytes that are no graph, and a graph of other inputs, are refused and not raised."""
    fitted = fit("momentum", dataset)
    panels = complete_panels(dataset.frame, 1, 3)
    for content in (b"no graph", type(fitted)(0, 99).to_onnx()):
        found = compare("momentum", fitted, content, panels)
        assert found.max_abs_diff == float("inf") and not found.passed


@dataclass(frozen=True)
class Centred:
    """Scores relative to the request's mean, under a family that denies it."""

    features: int

    def predict(self, panel: Panel) -> Scores:
        column = panel[:, -1, 0]
        return column - column.mean()

    def to_onnx(self) -> bytes:
        from onnx import TensorProto, helper

        take_row, last = onnx_graph.last_row_node("row")
        nodes = [
            take_row,
            helper.make_node("Gather", ["row", "first"], ["column"], axis=1),
            helper.make_node("ReduceMean", ["column"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["column", "mean"], [onnx_graph.OUTPUT_NAME]),
        ]
        first = helper.make_tensor("first", TensorProto.INT64, [], [0])
        return onnx_graph.build_graph("centred", nodes, [last, first], self.features)

    def hard_inputs(self, panel: Panel) -> Panel:
        return panel[:0]


def test_a_family_that_hides_its_dependence_is_found_out(dataset: Dataset) -> None:
    """Scores that change when other symbols are left out are refused where the family denies it."""
    fitted = Centred(len(dataset.frame.names))
    panels = complete_panels(dataset.frame, 1, 20)
    found = compare("momentum", fitted, fitted.to_onnx(), panels)
    assert not found.independent and "depend on the other symbols" in "; ".join(found.reasons)
    honest: Any = replace(registry.find_family("momentum"), cross_sectional=True)  # type: ignore[type-var]
    declared = check_fidelity(
        fitted, fitted.to_onnx(), panels, bars=named(panels), family=honest, strategy=AllocationStrategy()
    )
    assert declared.passed


@dataclass(frozen=True)
class Swapping:
    """A model whose native scores differ from its file by a given amount on one symbol."""

    by: float
    content: bytes

    def predict(self, panel: Panel) -> Scores:
        scores = run_session(open_session(self.content), panel)
        scores[np.argsort(scores)[0]] = np.sort(scores)[1] + np.float32(self.by)
        return scores

    def hard_inputs(self, panel: Panel) -> Panel:
        return panel[:0]


def test_orders_may_differ_only_between_scores_that_are_alike(dataset: Dataset) -> None:
    """A swap of scores a rounding apart is counted as a tie; a clear swap makes other orders."""
    close_together = replace(dataset.frame, values=np.round(dataset.frame.values, 1) + np.float32(0))
    content = fit("momentum", dataset).to_onnx()
    column = dataset.frame.names.index("momentum_252_21")
    values = close_together.values.copy()
    values[:, :, column] = np.arange(12, dtype=np.float32) * np.float32(5e-8)
    alike = complete_panels(replace(close_together, values=values), 1, 4)
    tied: Any = Swapping(1e-8, content)
    found = compare("momentum", tied, content, alike)
    assert found.passed and found.tied_bars > 0
    values[:, :, column] = np.arange(12, dtype=np.float32) * np.float32(2e-5)
    apart = complete_panels(replace(close_together, values=values), 1, 4)
    swapped: Any = Swapping(1e-5, content)
    assert not compare("momentum", swapped, content, apart).orders_equal
