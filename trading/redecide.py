"""Replay of decisions: a journaled decision computed again, by the rule that made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alphaloop.errors import ChainBrokenError, InputError
from alphaloop.orders import Order
from trading.decision import CURRENT_RULE, FIRST_RULE, POLICY_RULE, Decision, DecisionInputs, decide
from trading.rules import rule_1
from trading.strategy import recorded_strategy


def _decide_now(body: Mapping[str, Any]) -> Decision:
    inputs = DecisionInputs.from_body(body)
    return decide(inputs, recorded_strategy(inputs.strategy))


RULES: Mapping[int, Callable[[Mapping[str, Any]], Decision]] = {
    FIRST_RULE: rule_1.decide,
    POLICY_RULE: _decide_now,
    CURRENT_RULE: _decide_now,
}
"""Every rule that a journal may name.

Each is a function from the body of a decision to the decision.
"""


def rule_number(body: Mapping[str, Any]) -> int:
    """Return the number of the rule that made the decision in `body`.

    Raises `InputError` for a rule that only a newer version knows, `ChainBrokenError` for no number.
    """
    rule = body.get("rule", FIRST_RULE)
    if not isinstance(rule, int) or isinstance(rule, bool) or rule < FIRST_RULE:
        raise ChainBrokenError(f"this is not the body of a decision: its rule is {rule!r}")
    if rule not in RULES:
        raise InputError(
            f"decision {body.get('decision_id')} was made by rule {rule} and this version knows rules up to "
            f"{max(RULES)}; use the version of alphaloop that made it, or a newer one"
        )
    return rule


def redecide_decision(body: Mapping[str, Any]) -> Decision:
    """Compute the decision of a `decision` record's body, by the rule that it names.

    Raises as `rule_number` does, `NotReplayableError` where the code of its strategy is not here, and
    `ChainBrokenError` for a body that is not a decision.
    """
    rule = RULES[rule_number(body)]
    try:
        return rule(body)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ChainBrokenError(f"this is not the body of a decision: {error!r}") from error


def redecide_orders(body: Mapping[str, Any]) -> list[Order]:
    """Compute the orders of a journaled decision again.

    Parameters
    ----------
    body : mapping of str to object
        Body of a `decision` record.

    Returns
    -------
    list of Order
        Orders identical to those that were sent.

    Raises
    ------
    InputError
        For a rule that only a newer version knows.
    NotReplayableError
        Where the code of the decision's strategy is not here.
    ChainBrokenError
        For a body that is not a decision.
    """
    return list(redecide_decision(body).orders)
