"""The decision of one bar: a pure function from all inputs to orders.

The engine journals the inputs, so that any decision can be computed again, to the identical orders. Body of a
`decision` record (lists are in the order of `sleeves` and `symbols`; money is Decimal text):

- inputs: `rule` (number of the rule that decided; without it, rule 1), `decision_id, as_of, symbols, prices,
  blocked, sleeves, cash, quantities [sleeves][symbols], peak, answers` (see `trading.forecasts`; each lists
  its sleeves and prediction ids), `reduced` (refusals known before the decision), `strategy` (`name,
  parameters, digest`; a body of rule 2 has the parameters of `allocation` as `policy`), `limits, simulated`;
- for recovery, not for the computation: `changes` (units by symbol and sleeve, without rule 2);
- for readers, not for the computation: `equity`; by sleeve `equities, costs, traded` (costs and traded since
  the start); `crossing` (symbols whose changes cancel out between sleeves), `adjustments` (the factors that
  the books are based on) and `cost_bps` (commission, half spread);
- with several providers: `providers` (source of each symbol's bar) and `disputed` (symbols whose bar the
  providers disagree about). Without these keys there was one source and no dispute;
- with a universe whose members change: `outside` (symbols that were no members, and so are sold);
- with named instruments: `lots` (smallest quantity of each symbol).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.obtainable_price import holdings_value
from alphaloop.decision.strategy import Strategy, StrategyIdentity, StrategyView, strategy_weights
from alphaloop.errors import StrategyError
from alphaloop.forecasts import SymbolStatus
from alphaloop.orders import Order, Side, client_order_id
from trading.execution.netting import LOT, ZERO, round_to_lot
from trading.execution.sleeves import OpenChange
from trading.forecasts import SharedForecast
from trading.risk.risk_check import Refusal, RiskCheck, RiskLimits

Matrix = npt.NDArray[np.float64]

FIRST_RULE = 1
"""Number of the rule of bodies that name none."""
POLICY_RULE = 2
"""Number of the rule whose bodies name no strategy: `policy` has the parameters of `allocation`."""
CURRENT_RULE = 3
"""Number of the rule that `decide` implements.

Raise it with every change of what follows from the same inputs, and keep the previous rule in
`trading.rules`: journals made by it are replayed with it.
"""

_LOT_EXPONENT = int(LOT.as_tuple().exponent)
_LOTS_PER_UNIT = 10.0**-_LOT_EXPONENT
_MAX_EXACT_LOTS = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """Everything that a decision depends on.

    Tuples are in the order of `symbols` and `sleeves`.

    Parameters
    ----------
    decision_id : str
        Identifier of the decision.
    as_of : datetime
        Close of the bar.
    symbols : tuple of str
        The symbols.
    prices : tuple of Decimal or None, one a symbol
        Latest known prices; None for a symbol that never had one.
    blocked : tuple of str
        Symbols that cannot be traded now: no price in this bar, or an open order.
    sleeves : tuple of str
        The capital sleeves.
    cash : tuple of Decimal, one a sleeve
        Cash in the currency of the prices.
    quantities : tuple of tuple of Decimal, [sleeves][symbols]
        Units held.
    peak : Decimal
        Highest equity of the whole book.
    answers : tuple of Answer
        Forecasts, each with its sleeves.
    reduced : tuple of Refusal
        Refusals known before the decision; their sleeves may only reduce positions.
    strategy : StrategyIdentity
        Name, parameters and code of the strategy.
    limits : RiskLimits
        Risk limits.
    simulated : bool
        Mark of orders that are priced on adjusted data.
    providers : tuple of str
        Source of each symbol's bar; empty where only one source is used.
    disputed : tuple of str
        Symbols whose bar the providers disagree about; positions in these may only be reduced.
    outside : tuple of str
        Symbols that are not members of the universe; positions in these are sold.
    lots : tuple of Decimal, one a symbol
        Smallest quantities that the venue trades; empty where no instruments are named.
    """

    decision_id: str
    as_of: datetime
    symbols: tuple[str, ...]
    prices: tuple[Decimal | None, ...]
    blocked: tuple[str, ...]
    sleeves: tuple[str, ...]
    cash: tuple[Decimal, ...]
    quantities: tuple[tuple[Decimal, ...], ...]
    peak: Decimal
    answers: tuple[SharedForecast, ...]
    reduced: tuple[Refusal, ...]
    strategy: StrategyIdentity
    limits: RiskLimits
    simulated: bool
    providers: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    lots: tuple[Decimal, ...] = ()

    def to_body(self) -> dict[str, Any]:
        """Convert the inputs to plain values for the journal.

        `providers`, `disputed`, `outside` and `lots` are written only if they are not empty.
        """
        in_question = {name: list(getattr(self, name)) for name in ("providers", "disputed", "outside")}
        in_question["lots"] = list(map(str, self.lots))
        return {
            "rule": CURRENT_RULE,
            "decision_id": self.decision_id,
            "as_of": self.as_of.isoformat(),
            "symbols": list(self.symbols),
            "prices": [None if price is None else str(price) for price in self.prices],
            "blocked": list(self.blocked),
            "sleeves": list(self.sleeves),
            "cash": [str(cash) for cash in self.cash],
            "quantities": [list(map(str, row)) for row in self.quantities],
            "peak": str(self.peak),
            "answers": [answer.to_body() for answer in self.answers],
            "reduced": [refusal.to_body() for refusal in self.reduced],
            "strategy": self.strategy.to_body(),
            "limits": self.limits.to_body(),
            "simulated": self.simulated,
            **{name: values for name, values in in_question.items() if values},
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> DecisionInputs:
        """Restore the inputs from a body of any rule known here; further keys are ignored."""
        return cls(
            decision_id=body["decision_id"],
            as_of=datetime.fromisoformat(body["as_of"]),
            symbols=tuple(body["symbols"]),
            prices=tuple(None if price is None else Decimal(price) for price in body["prices"]),
            blocked=tuple(body["blocked"]),
            sleeves=tuple(body["sleeves"]),
            cash=tuple(map(Decimal, body["cash"])),
            quantities=tuple(tuple(map(Decimal, row)) for row in body["quantities"]),
            peak=Decimal(body["peak"]),
            answers=tuple(map(SharedForecast.from_body, body["answers"])),
            reduced=tuple(map(Refusal.from_body, body["reduced"])),
            strategy=journaled_strategy(body),
            limits=RiskLimits.from_body(body["limits"]),
            simulated=body["simulated"],
            providers=tuple(body.get("providers", ())),
            disputed=tuple(body.get("disputed", ())),
            outside=tuple(body.get("outside", ())),
            lots=tuple(map(Decimal, body.get("lots", ()))),
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a decision.

    Parameters
    ----------
    orders : tuple of Order
        Orders for the broker, one a symbol.
    changes : tuple of OpenChange
        Changes of the sleeves behind the orders.
    refusals : tuple of Refusal
        Refusals by the risk check.
    """

    orders: tuple[Order, ...]
    changes: tuple[OpenChange, ...]
    refusals: tuple[Refusal, ...]


def journaled_strategy(body: Mapping[str, Any]) -> StrategyIdentity:
    """Return the strategy that the body of a decision names; that of rules 1 and 2 is `allocation`."""
    if "strategy" in body:
        return StrategyIdentity.from_body(body["strategy"])
    return StrategyIdentity(AllocationStrategy.name, dict(body["policy"]))


def decide(inputs: DecisionInputs, strategy: Strategy) -> Decision:
    """Decide on the orders of one bar, as a pure function.

    There is no clock, no randomness and no state, so that a journaled decision can be computed again. Where
    the strategy fails, the sleeves keep their positions, and a refusal says why.

    Parameters
    ----------
    inputs : DecisionInputs
        Everything that the decision depends on.
    strategy : Strategy
        The strategy that `inputs.strategy` names.

    Returns
    -------
    Decision
        Orders, changes by sleeve, and refusals.
    """
    check = RiskCheck(inputs.limits)
    prices = np.array([np.nan if price is None else float(price) for price in inputs.prices])
    quantities = np.array(inputs.quantities, dtype=np.float64)
    values = quantities * np.nan_to_num(prices)
    equities = np.array(inputs.cash, dtype=np.float64) + values.sum(axis=1)
    solvent = equities > 0
    current = np.where(solvent[:, None], values / np.where(solvent, equities, 1.0)[:, None], 0.0)

    refusals = [*inputs.reduced, *_stale(inputs), *_drawdown(inputs, check)]
    refusals += check.ruin(equities.tolist(), inputs.sleeves)
    reduced = {sleeve for refusal in refusals for sleeve in refusal.sleeves}
    refusals += check.disputes(inputs.disputed, inputs.sleeves)
    by_sleeve = np.array([sleeve in reduced for sleeve in inputs.sleeves])
    by_symbol = np.array([symbol in inputs.disputed for symbol in inputs.symbols])
    reduce_only = by_sleeve[:, None] | by_symbol[None, :]
    targets, failures = _targets(inputs, strategy, current)
    wanted = np.where(solvent[:, None], targets, 0.0)
    allowed, clipped = check.clip(wanted, current, inputs.sleeves, inputs.symbols, reduce_only)

    tradable = np.isfinite(prices) & np.array([symbol not in inputs.blocked for symbol in inputs.symbols])
    lots = _lots(allowed - current, equities, prices, quantities, tradable[None, :])
    orders, changes = _net(inputs, lots)
    return Decision(orders, changes, (*refusals, *failures, *clipped))


def _targets(inputs: DecisionInputs, strategy: Strategy, current: Matrix) -> tuple[Matrix, list[Refusal]]:
    """Compute the target weights of each sleeve, and refuse those that the strategy failed to give.

    A sleeve without a forecast keeps its weights, and so does one for which the strategy fails. Symbols
    outside the universe are sold in all sleeves.
    """
    rows = {sleeve: row for row, sleeve in enumerate(inputs.sleeves)}
    outside = np.array([symbol in inputs.outside for symbol in inputs.symbols])
    targets, failed = np.where(outside, 0.0, current), dict[str, list[str]]()
    for answer in inputs.answers:
        scores = np.array(answer.forecast.scores)
        # A symbol that never had a price cannot be bought: its share goes to the others.
        scores[[price is None for price in inputs.prices]] = np.nan
        for sleeve in answer.prediction_ids:
            row = rows[sleeve]
            view = StrategyView(inputs.as_of, inputs.symbols, scores, current[row])
            try:
                targets[row] = strategy_weights(strategy, view, outside)
            except StrategyError as error:
                failed.setdefault(str(error), []).append(sleeve)
    return targets, [
        Refusal("strategy", f"{reason}: positions are kept", tuple(sleeves))
        for reason, sleeves in failed.items()
    ]


def _stale(inputs: DecisionInputs) -> list[Refusal]:
    refusals = []
    for answer in inputs.answers:
        stamped = answer.forecast.feature_timestamp
        age = inputs.as_of - stamped
        if age > inputs.limits.max_feature_age or stamped > inputs.as_of:
            reason = (
                f"features are of {stamped.isoformat()}, the bar is of {inputs.as_of.isoformat()}; "
                f"the age allowed is {inputs.limits.max_feature_age}: reduce-only"
            )
            refusals.append(Refusal("staleness", reason, tuple(answer.prediction_ids)))
        elif SymbolStatus.STALE in answer.forecast.statuses:
            reason = "the server repeats its last good scores, for the model fails: reduce-only"
            refusals.append(Refusal("stale_scores", reason, tuple(answer.prediction_ids)))
    return refusals


def _drawdown(inputs: DecisionInputs, check: RiskCheck) -> list[Refusal]:
    equity = sum(inputs.cash, ZERO) + sum(
        (holdings_value(row, inputs.prices) for row in inputs.quantities), ZERO
    )
    return check.drawdown(equity, inputs.peak, inputs.sleeves)


def _lots(
    change: Matrix,
    equities: npt.NDArray[np.float64],
    prices: npt.NDArray[np.float64],
    quantities: Matrix,
    tradable: npt.NDArray[np.bool_],
) -> Matrix:
    """Convert changes of weight to whole lots `[sleeves, symbols]`, rounded toward zero.

    No more is sold than held. A sleeve without equity sells everything.
    """
    money = change * equities[:, None]
    lots = money / np.where(np.isfinite(prices), prices, 1.0) * _LOTS_PER_UNIT
    held = np.maximum(np.rint(quantities * _LOTS_PER_UNIT), 0.0)
    lots = np.where(equities[:, None] > 0, np.maximum(lots, -held), -held)
    return np.trunc(np.where(tradable, lots, 0.0))


def _exact(lots: list[int], held: list[Decimal]) -> list[int]:
    """Limit the sales in `lots` to what is held.

    Floats cannot count the units of a tiny price exactly.
    """
    if max(map(abs, lots), default=0) < _MAX_EXACT_LOTS:
        return lots
    return [max(one, -int(quantity.scaleb(-_LOT_EXPONENT))) for one, quantity in zip(lots, held, strict=True)]


def _net(inputs: DecisionInputs, lots: Matrix) -> tuple[tuple[Order, ...], tuple[OpenChange, ...]]:
    orders, changes = [], []
    for index, symbol in enumerate(inputs.symbols):
        column = _exact(list(map(int, lots[:, index].tolist())), [row[index] for row in inputs.quantities])
        if not any(column):
            continue
        wanted = tuple(Decimal(one).scaleb(_LOT_EXPONENT) if one else ZERO for one in column)
        if inputs.lots:
            wanted = round_to_lot(wanted, inputs.lots[index])
            if not any(wanted):
                continue
        net = sum(wanted, ZERO)
        order = None
        if net:
            order = Order(
                client_order_id=client_order_id(inputs.decision_id, symbol),
                symbol=symbol,
                side=Side.BUY if net > 0 else Side.SELL,
                quantity=abs(net),
                decided_at=inputs.as_of,
                decision_id=inputs.decision_id,
                simulated=inputs.simulated,
            )
            orders.append(order)
        changes.append(OpenChange(inputs.decision_id, symbol, wanted, order))
    return tuple(orders), tuple(changes)
