"""Export to ONNX, and the proof that the file is the model.

The proof compares the native model with the file on scores and on the orders that they lead to, on
real rows and on rows made to be hard, symbol by symbol and together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaloop.allocation import AllocationPolicy, next_weights
from alphaloop.errors import FidelityError
from alphaloop.runtime.processes import silence_telemetry
from models.dataset import Panel
from models.family import Family, FittedModel, Scores
from models.onnx.onnx_graph import INPUT, OUTPUT

TOLERANCE = 1e-4
"""Largest difference of scores that is let pass."""

TIE = 1e-6
"""Native scores closer than this are alike: float32 sums in another order may swap them."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file and its SHA-256."""

    onnx: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far the ONNX file is from the model that it came from.

    `rows` were compared, `hard_rows` of them made to show a wrong export. `orders_equal` says that
    every bar leads to the same orders; `tied_bars` is on how many the weights differ only by the order
    of scores that are alike. `independent` says that no score changed when other symbols were left
    out, where the family claims so.
    """

    max_abs_diff: float
    orders_equal: bool
    rows: int
    hard_rows: int = 0
    tied_bars: int = 0
    independent: bool = True
    tolerance: float = TOLERANCE

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the file must not be used; empty where it may."""
        found = []
        if not self.max_abs_diff <= self.tolerance:
            difference = f"{self.max_abs_diff:.3g}, above {self.tolerance:g}"
            found.append(f"fidelity: ONNX and native scores differ by {difference}")
        if not self.orders_equal:
            found.append("fidelity: ONNX scores lead to other orders than native scores")
        if not self.independent:
            found.append("fidelity: scores depend on the other symbols, which the family denies")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether the file may be used."""
        return not self.reasons

    def require(self) -> None:
        """Raise `FidelityError` unless the file may be used."""
        if not self.passed:
            raise FidelityError("; ".join(self.reasons))

    def to_dict(self) -> dict[str, Any]:
        """The result as the card keeps it."""
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


def export(fitted: FittedModel) -> Exported:
    """The fitted model as an ONNX file."""
    content = fitted.to_onnx()
    return Exported(content, hashlib.sha256(content).hexdigest())


def fidelity(
    fitted: FittedModel,
    content: bytes,
    panels: Sequence[Panel],
    *,
    family: Family,
    allocation: AllocationPolicy,
) -> Fidelity:
    """Compare the file with the model on `panels`, one float32 `[symbols, lookback, features]` a bar.

    A file that ONNX Runtime cannot run is as far away as can be.
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
        return _compare(fitted, open_session(content), panels, family, allocation)
    except refusals:
        return Fidelity(max_abs_diff=float("inf"), orders_equal=False, rows=0)


def open_session(content: bytes) -> Any:
    """An ONNX Runtime session on one thread."""
    silence_telemetry("ORT_DISABLE_TELEMETRY")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: Any, panel: Panel) -> Scores:
    """Scores of a panel by ONNX Runtime, float32 `[symbols]`."""
    return np.asarray(session.run([OUTPUT], {INPUT: np.ascontiguousarray(panel)})[0])


def _compare(
    fitted: FittedModel, session: Any, panels: Sequence[Panel], family: Family, allocation: AllocationPolicy
) -> Fidelity:
    native = [fitted.predict(panel) for panel in panels]
    exported = [run(session, panel) for panel in panels]
    pairs = list(zip(native, exported, strict=True))
    differing = [pair for pair in pairs if not _same_weights(*pair, allocation)]
    alike = [pair for pair in differing if _same_order(*pair)]
    hard = fitted.hard_inputs(np.concatenate(panels)) if panels and not family.cross_sectional else None
    if hard is not None and len(hard):
        pairs.append((fitted.predict(hard), run(session, hard)))
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


def _same_weights(ours: Scores, theirs: Scores, allocation: AllocationPolicy) -> bool:
    """Whether a book that holds equal weights would trade to the same weights by either."""
    if ours.shape != theirs.shape:
        return False
    held = np.full(len(ours), allocation.gross / len(ours))
    return np.allclose(next_weights(ours, held, allocation), next_weights(theirs, held, allocation))


def _same_order(ours: Scores, theirs: Scores) -> bool:
    """Whether the second scores order the symbols as the first do, but for those that are alike."""
    if ours.shape != theirs.shape:
        return False
    clearly_above = ours[:, None].astype(np.float64) - ours[None, :] > TIE
    return bool((theirs[:, None] > theirs[None, :])[clearly_above].all())


def _independent(session: Any, panels: Sequence[Panel], exported: Sequence[Scores]) -> bool:
    """Whether every second symbol alone gets the scores that it got among all."""
    sampled = list(zip(panels, exported, strict=True))[:: max(len(panels) // 16, 1)]
    return all(np.allclose(run(session, panel[::2]), scores[::2], atol=1e-5) for panel, scores in sampled)
