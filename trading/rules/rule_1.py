"""Rule 1: decisions journaled before bodies carried the number of their rule. Frozen; do not edit.

Everything that affects an order is written out here, and read from the stored body alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.orders import Order, Side
from trading.decision import Decision
from trading.execution.sleeves import OpenChange

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

LOT_EXPONENT = -4
LOTS_PER_UNIT = 10.0**4
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Scores `[symbols]`, NaN where there are none, and the sleeves that received them."""

    scores: Vector
    sleeves: tuple[str, ...]
    feature_timestamp: datetime
    repeated: bool


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The part of a body that orders depend on."""

    decision_id: str
    as_of: datetime
    symbols: tuple[str, ...]
    prices: tuple[Decimal | None, ...]
    blocked: tuple[str, ...]
    disputed: tuple[str, ...]
    sleeves: tuple[str, ...]
    cash: tuple[Decimal, ...]
    quantities: tuple[tuple[Decimal, ...], ...]
    peak: Decimal
    answers: tuple[_Answer, ...]
    reduced: frozenset[str]
    policy: Mapping[str, float]
    limits: Mapping[str, Any]
    simulated: bool


def decide(body: Mapping[str, Any]) -> Decision:
    """Compute the orders and changes of a decision of rule 1 from its body.

    Refusals are left out, because the journal has them beside the decision. Raises `KeyError`, `TypeError`,
    `ValueError` or `ArithmeticError` for a body that no decision of this rule has.
    """
    inputs = _read(body)
    prices = np.array([np.nan if price is None else float(price) for price in inputs.prices])
    quantities = np.array(inputs.quantities, dtype=np.float64)
    values = quantities * np.nan_to_num(prices)
    equities = np.array(inputs.cash, dtype=np.float64) + values.sum(axis=1)
    solvent = equities > 0
    current = np.where(solvent[:, None], values / np.where(solvent, equities, 1.0)[:, None], 0.0)

    reduced = inputs.reduced | _stale(inputs) | _drawdown(inputs)
    by_sleeve = np.array([sleeve in reduced for sleeve in inputs.sleeves])
    by_symbol = np.array([symbol in inputs.disputed for symbol in inputs.symbols])
    allowed = _clip(_wanted(inputs, current), current, inputs.limits, by_sleeve[:, None] | by_symbol[None, :])

    tradable = np.isfinite(prices) & np.array([symbol not in inputs.blocked for symbol in inputs.symbols])
    tradable = tradable[None, :] & solvent[:, None]
    orders, changes = _net(inputs, _lots(allowed - current, equities, prices, quantities, tradable))
    return Decision(orders, changes, ())


def _read(body: Mapping[str, Any]) -> _Inputs:
    return _Inputs(
        decision_id=body["decision_id"],
        as_of=datetime.fromisoformat(body["as_of"]),
        symbols=tuple(body["symbols"]),
        prices=tuple(None if price is None else Decimal(price) for price in body["prices"]),
        blocked=tuple(body["blocked"]),
        disputed=tuple(body.get("disputed", ())),
        sleeves=tuple(body["sleeves"]),
        cash=tuple(map(Decimal, body["cash"])),
        quantities=tuple(tuple(map(Decimal, row)) for row in body["quantities"]),
        peak=Decimal(body["peak"]),
        answers=tuple(map(_read_answer, body["answers"])),
        reduced=frozenset(sleeve for refusal in body["reduced"] for sleeve in refusal["sleeves"]),
        policy=body["policy"],
        limits=body["limits"],
        simulated=body["simulated"],
    )


def _read_answer(body: Mapping[str, Any]) -> _Answer:
    scores = [math.nan if score is None else score for score in body["scores"]]
    return _Answer(
        scores=np.array(scores, dtype=np.float64),
        sleeves=tuple(body["prediction_ids"]),
        feature_timestamp=datetime.fromisoformat(body["feature_timestamp"]),
        repeated="stale" in body["statuses"],
    )


def _stale(inputs: _Inputs) -> set[str]:
    """Return the sleeves with features of another bar, or with scores of an earlier request."""
    allowed = timedelta(seconds=inputs.limits["max_feature_age"])
    return {
        sleeve
        for answer in inputs.answers
        for sleeve in answer.sleeves
        if answer.repeated or not timedelta(0) <= inputs.as_of - answer.feature_timestamp <= allowed
    }


def _drawdown(inputs: _Inputs) -> set[str]:
    """Return every sleeve once the book has lost `max_drawdown` of its highest equity."""
    equity = sum(inputs.cash, ZERO)
    for row in inputs.quantities:
        pairs = zip(row, inputs.prices, strict=True)
        equity += sum((held * price for held, price in pairs if price is not None), ZERO)
    lost = float(1 - equity / inputs.peak) if inputs.peak > 0 else 1.0
    return set(inputs.sleeves) if lost >= inputs.limits["max_drawdown"] else set()


def _wanted(inputs: _Inputs, current: Matrix) -> Matrix:
    rows = {sleeve: row for row, sleeve in enumerate(inputs.sleeves)}
    wanted = current.copy()
    for answer in inputs.answers:
        scores = answer.scores.copy()
        scores[[price is None for price in inputs.prices]] = np.nan
        for sleeve in answer.sleeves:
            wanted[rows[sleeve]] = _next_weights(scores, current[rows[sleeve]], inputs.policy)
    return wanted


def _rank_scores(values: Vector) -> Vector:
    ranks = np.full(values.shape, np.nan)
    finite = np.isfinite(values)
    count = int(finite.sum())
    if count == 0:
        return ranks
    _, inverse, counts = np.unique(values[finite], return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2
    position = mean_rank[inverse] - (count - 1) / 2
    spread = position.std()
    ranks[finite] = position / spread if spread > 0 else 0.0
    return ranks


def _target_weights(scores: Vector, current: Vector, policy: Mapping[str, float]) -> Vector:
    ranks = _rank_scores(scores)
    scored = np.isfinite(ranks)
    weights = current.copy()
    available = policy["gross"] - weights[~scored].sum()
    if not scored.any() or available <= 0:
        return weights
    tilted = np.maximum(1.0 + policy["tilt"] * ranks[scored], 0.0)
    weights[scored] = available * tilted / tilted.sum()
    return weights


def _next_weights(scores: Vector, current: Vector, policy: Mapping[str, float]) -> Vector:
    target = _target_weights(scores, current, policy)
    if not current.any():
        return target
    distance = target - current
    equal = policy["gross"] / len(current)
    traded = np.where(np.abs(distance) >= policy["band"] * equal, policy["rate"] * distance, 0.0)
    return np.maximum(current + traded, 0.0)


def _clip(
    wanted: Matrix, current: Matrix, limits: Mapping[str, Any], reduce_only: npt.NDArray[np.bool_]
) -> Matrix:
    allowed = np.where(reduce_only, np.clip(wanted, 0.0, np.maximum(current, 0.0)), wanted)
    allowed = np.minimum(allowed, float(limits["max_weight"]))
    rise = np.maximum(allowed - current, 0.0)
    kept = np.minimum(allowed, current)
    room = np.maximum(float(limits["max_gross"]) - kept.sum(axis=1), 0.0)
    asked = rise.sum(axis=1)
    over = asked > room
    if over.any():
        scale = np.where(over, room / np.where(over, asked, 1.0), 1.0)
        allowed = np.where(over[:, None], kept + rise * scale[:, None], allowed)
    return allowed


def _lots(
    change: Matrix, equities: Vector, prices: Vector, quantities: Matrix, tradable: npt.NDArray[np.bool_]
) -> Matrix:
    money = change * equities[:, None]
    lots = np.where(tradable, money / np.where(np.isfinite(prices), prices, 1.0), 0.0) * LOTS_PER_UNIT
    held = np.maximum(np.rint(quantities * LOTS_PER_UNIT), 0.0)
    return np.trunc(np.maximum(lots, -held))


def _net(inputs: _Inputs, lots: Matrix) -> tuple[tuple[Order, ...], tuple[OpenChange, ...]]:
    orders, changes = [], []
    for index, symbol in enumerate(inputs.symbols):
        column = list(map(int, lots[:, index].tolist()))
        if not any(column):
            continue
        wanted = tuple(Decimal(one).scaleb(LOT_EXPONENT) if one else ZERO for one in column)
        order = _order(inputs, symbol, column) if sum(column) else None
        if order is not None:
            orders.append(order)
        changes.append(OpenChange(inputs.decision_id, symbol, wanted, order))
    return tuple(orders), tuple(changes)


def _order(inputs: _Inputs, symbol: str, lots: Sequence[int]) -> Order:
    net = sum(lots)
    digest = hashlib.sha256(f"{inputs.decision_id}/{symbol}".encode()).hexdigest()
    return Order(
        client_order_id=f"al-{digest[:24]}",
        symbol=symbol,
        side=Side.BUY if net > 0 else Side.SELL,
        quantity=Decimal(abs(net)).scaleb(LOT_EXPONENT),
        decided_at=inputs.as_of,
        decision_id=inputs.decision_id,
        simulated=inputs.simulated,
    )
