"""Export to ONNX, and the fidelity check of the file against the native model.

The check compares scores and the orders that they lead to, on real rows and on rows made to reveal a wrong
export, for each symbol alone and for all together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.decision.strategy import Strategy, StrategyView, strategy_weights
from alphaloop.errors import FidelityError, StrategyError
from alphaloop.runtime.processes import silence_telemetry
from models.dataset import Panel, PanelBar
from models.family import Family, FittedModel, Scores
from models.onnx.onnx_graph import INPUT_NAME, OUTPUT_NAME

Vector = npt.NDArray[np.float64]

MAX_SCORE_DIFFERENCE = 1e-4
"""Largest difference of scores that passes."""

TIE_TOLERANCE = 1e-6
"""Difference below which native scores are tied: float32 sums in another order may swap them."""


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An ONNX file and its SHA-256."""

    onnx: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The difference between an ONNX file and the native model.

    Parameters
    ----------
    max_abs_diff : float
        Largest absolute difference of scores; infinite for a file that cannot be run.
    orders_equal : bool
        True if every bar leads to the same orders, except for tied scores.
    rows, hard_rows : int
        Rows compared, and those among them made to reveal a wrong export.
    tied_bars : int
        Bars on which the weights differ only by the order of tied scores.
    independent : bool
        True if no score changed when other symbols were left out, as the family claims.
    tolerance : float
        Largest difference that passes.
    """

    max_abs_diff: float
    orders_equal: bool
    rows: int
    hard_rows: int = 0
    tied_bars: int = 0
    independent: bool = True
    tolerance: float = MAX_SCORE_DIFFERENCE

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons against using the file; empty where it may be used."""
        reasons = []
        if not self.max_abs_diff <= self.tolerance:
            difference = f"{self.max_abs_diff:.3g}, above {self.tolerance:g}"
            reasons.append(f"fidelity: ONNX and native scores differ by {difference}")
        if not self.orders_equal:
            reasons.append("fidelity: ONNX scores lead to other orders than native scores")
        if not self.independent:
            reasons.append("fidelity: scores depend on the other symbols, which the family denies")
        return tuple(reasons)

    @property
    def passed(self) -> bool:
        """True if the file may be used."""
        return not self.reasons

    def require(self) -> None:
        """Raise `FidelityError` unless the file may be used."""
        if not self.passed:
            raise FidelityError("; ".join(self.reasons))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as stored on the card."""
        return {
            "passed": self.passed,
            "max_abs_diff": self.max_abs_diff,
            "orders_equal": self.orders_equal,
            "rows": self.rows,
            "hard_rows": self.hard_rows,
            "tied_bars": self.tied_bars,
            "independent": self.independent,
            "tolerance": self.tolerance,
        }


def export_onnx(fitted: FittedModel) -> ExportedModel:
    """Export a fitted model as an ONNX file.

    Parameters
    ----------
    fitted : FittedModel
        The fitted model.

    Returns
    -------
    ExportedModel
        Content and SHA-256 of the file.
    """
    content = fitted.to_onnx()
    return ExportedModel(content, hashlib.sha256(content).hexdigest())


def check_fidelity(
    fitted: FittedModel,
    content: bytes,
    panels: Sequence[Panel],
    *,
    bars: Sequence[PanelBar],
    family: Family,
    strategy: Strategy,
    gross: float = 1.0,
) -> Fidelity:
    """Compare an ONNX file with the native model.

    Parameters
    ----------
    fitted : FittedModel
        The native model.
    content : bytes
        The ONNX file.
    panels : sequence of ndarray of float32, shape [symbols, lookback, features]
        Inputs, one panel a bar.
    bars : sequence of PanelBar
        Bar and symbols of each panel.
    family : Family
        Family of the model.
    strategy : Strategy
        Strategy by which scores become weights, for comparing orders.
    gross : float
        Sum of the weights of the book at equal weight that would trade.

    Returns
    -------
    Fidelity
        The differences; infinite for a file that ONNX Runtime cannot run.

    Raises
    ------
    StrategyError
        Where the strategy fails on the native scores.
    """
    silence_telemetry("ORT_DISABLE_TELEMETRY")
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    refusals = (
        state.Fail,
        state.InvalidGraph,
        state.InvalidArgument,
        state.InvalidProtobuf,
        state.NotImplemented,
    )
    try:
        return _compare(fitted, open_session(content), panels, family, _Trader(bars, strategy, gross))
    except refusals:
        return Fidelity(max_abs_diff=float("inf"), orders_equal=False, rows=0)


def open_session(content: bytes) -> Any:
    """Open an ONNX Runtime session on one thread."""
    silence_telemetry("ORT_DISABLE_TELEMETRY")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_session(session: Any, panel: Panel) -> Scores:
    """Compute the scores of a panel with ONNX Runtime, float32 `[symbols]`."""
    return np.asarray(session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(panel)})[0])


@dataclass(frozen=True, slots=True)
class _Trader:
    """A book at equal weight, which trades the scores of a panel."""

    bars: Sequence[PanelBar]
    strategy: Strategy
    gross: float

    def same_weights(self, index: int, ours: Scores, theirs: Scores) -> bool:
        """Test whether the book would trade to the same weights by both scores of panel `index`."""
        if ours.shape != theirs.shape:
            return False
        native = self._weights(index, ours)
        try:
            return np.allclose(native, self._weights(index, theirs))
        except StrategyError:
            # It copes with the native scores, so these are others.
            return False

    def _weights(self, index: int, scores: Scores) -> Vector:
        bar = self.bars[index]
        held = np.full(len(scores), self.gross / len(scores))
        view = StrategyView(bar.as_of, bar.symbols, scores.astype(np.float64), held)
        return strategy_weights(self.strategy, view)


def _compare(
    fitted: FittedModel, session: Any, panels: Sequence[Panel], family: Family, trader: _Trader
) -> Fidelity:
    native = [fitted.predict(panel) for panel in panels]
    exported = [run_session(session, panel) for panel in panels]
    pairs = list(zip(native, exported, strict=True))
    differing = [pair for index, pair in enumerate(pairs) if not trader.same_weights(index, *pair)]
    alike = [pair for pair in differing if _same_order(*pair)]
    hard = fitted.hard_inputs(np.concatenate(panels)) if panels and not family.cross_sectional else None
    if hard is not None and len(hard):
        pairs.append((fitted.predict(hard), run_session(session, hard)))
    return Fidelity(
        max_abs_diff=max((_difference(*pair) for pair in pairs), default=float("inf")),
        orders_equal=len(differing) == len(alike),
        rows=sum(len(ours) for ours, _ in pairs),
        hard_rows=0 if hard is None else len(hard),
        tied_bars=len(alike),
        independent=family.cross_sectional or _independent(session, panels, exported),
    )


def _difference(ours: Scores, theirs: Scores) -> float:
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))


def _same_order(ours: Scores, theirs: Scores) -> bool:
    """Test whether both scores order the symbols alike, except for ties."""
    if ours.shape != theirs.shape:
        return False
    clearly_above = ours[:, None].astype(np.float64) - ours[None, :] > TIE_TOLERANCE
    return bool((theirs[:, None] > theirs[None, :])[clearly_above].all())


def _independent(session: Any, panels: Sequence[Panel], exported: Sequence[Scores]) -> bool:
    """Test whether every second symbol alone gets the score that it has among all."""
    sampled = list(zip(panels, exported, strict=True))[:: max(len(panels) // 16, 1)]
    return all(
        np.allclose(run_session(session, panel[::2]), scores[::2], atol=1e-5) for panel, scores in sampled
    )
