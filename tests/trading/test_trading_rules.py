"""A decision is replayed by the rule that made it, whatever the rule in force is by now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import alphaloop.allocation
import trading.redecide
from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.strategy import StrategyIdentity
from alphaloop.errors import ChainBrokenError, InputError
from alphaloop.journal.record import canonical_json
from trading.decision import CURRENT_RULE, Decision, DecisionInputs
from trading.recovery import restore_engine
from trading.redecide import redecide_decision, redecide_orders
from trading.risk.risk_check import RiskCheck
from trading.strategy import BUILT_IN_DIGESTS

DATA = Path(__file__).parents[1] / "data"
"""Bodies of rule 1 and of rule 2, and the orders and changes that the engines of then made of them."""


def kept(rule: int = 1) -> list[dict[str, Any]]:
    """Every kept decision of a rule: `name`, `body`, `orders` and `changes`."""
    return json.loads((DATA / f"decisions_of_rule_{rule}.json").read_text())


def plain(decision: Decision) -> dict[str, Any]:
    """Orders and changes in the form in which they are kept."""
    return {
        "orders": [
            [one.client_order_id, one.symbol, one.side.value, str(one.quantity), one.simulated]
            for one in decision.orders
        ],
        "changes": [
            [one.symbol, list(map(str, one.wanted)), one.order and one.order.client_order_id]
            for one in decision.changes
        ],
    }


def wrong(*_: object, **__: object) -> Any:
    """Stand for a rule that a later version has changed."""
    raise AssertionError("an old decision was computed by the rule of now")


def of_rule_1(records: list) -> list:
    """The records as the first version wrote them: no decision names its rule, strategy or changes."""
    added = ("rule", "strategy", "changes")
    return [
        replace(
            one,
            body={name: value for name, value in one.body.items() if name not in added}
            | {"policy": one.body["strategy"]["parameters"]},
        )
        if one.kind == "decision"
        else one
        for one in records
    ]


@pytest.mark.parametrize("example", kept(), ids=lambda one: one["name"].replace(" ", "-"))
def test_a_decision_without_a_rule_gives_the_orders_of_then(example):
    """What was journaled before rules had numbers leads to the very orders and changes of then."""
    assert plain(redecide_decision(example["body"])) == {
        name: example[name] for name in ("orders", "changes")
    }


@pytest.mark.parametrize("example", kept(2), ids=lambda one: one["name"].replace(" ", "-"))
def test_a_decision_that_names_no_strategy_gives_the_orders_of_then(example):
    """What was journaled before strategies had names is made again by the built-in allocation, exactly."""
    assert example["body"]["rule"] == 2 and "strategy" not in example["body"]
    assert plain(redecide_decision(example["body"])) == {
        name: example[name] for name in ("orders", "changes")
    }


@pytest.mark.parametrize("example", kept(2), ids=lambda one: one["name"].replace(" ", "-"))
def test_the_default_strategy_decides_as_before_it_was_one(example):
    """The built-in strategy, named in a body of now, gives the orders and changes of then."""
    inputs = DecisionInputs.from_body(example["body"])
    named = StrategyIdentity.of(AllocationStrategy(**example["body"]["policy"]))
    body = json.loads(canonical_json(replace(inputs, strategy=named).to_body()))
    assert body["rule"] == CURRENT_RULE and body["strategy"]["name"] == "allocation"
    assert plain(redecide_decision(body)) == {name: example[name] for name in ("orders", "changes")}


def test_the_code_of_the_built_in_strategy_is_kept_for_replay():
    """Who edits it adds the new digest, which this test demands, so that no journal loses its strategy.

    Add the digest to `trading.strategy.BUILT_IN_DIGESTS` if the decisions kept above stay the same. If not,
    freeze the code of before as a rule, and raise `CURRENT_RULE`.
    """
    assert StrategyIdentity.of(AllocationStrategy()).digest in BUILT_IN_DIGESTS["allocation"]
    earlier = kept(2)[0]
    for digest in BUILT_IN_DIGESTS["allocation"]:
        named = {"name": "allocation", "parameters": earlier["body"]["policy"], "digest": digest}
        body = earlier["body"] | {"rule": CURRENT_RULE, "strategy": named}
        assert plain(redecide_decision(body))["orders"] == earlier["orders"]


def test_an_old_decision_does_not_hang_on_the_rule_of_now(monkeypatch):
    """Allocation, limits, formats and rule of now may change: rule 1 calls none of them."""
    monkeypatch.setattr(trading.redecide, "decide", wrong)
    monkeypatch.setattr(DecisionInputs, "from_body", wrong)
    monkeypatch.setattr(RiskCheck, "clip", wrong)
    for name in ("rank_scores", "target_weights", "next_weights"):
        monkeypatch.setattr(alphaloop.allocation, name, wrong)
    for example in kept():
        assert plain(redecide_decision(example["body"]))["orders"] == example["orders"]
        assert redecide_orders(example["body"] | {"rule": 1}) == redecide_orders(example["body"])


def test_a_decision_names_the_rule_of_now(make_bars, make_rig):
    """The engine journals the number of its rule, and a replay with it gives the orders that were sent."""
    rig = make_rig(make_bars(count=3))
    outcomes = rig.run(0, 3)
    bodies = [record.body for record in rig.records("decision")]
    assert [body["rule"] for body in bodies] == [CURRENT_RULE] * 3
    assert [redecide_orders(body) for body in bodies] == [list(one.orders) for one in outcomes]


def test_recovery_waits_for_what_the_old_rule_decided(make_bars, make_rig, monkeypatch):
    """Orders of a decision of rule 1 that are open at a restart are waited for as they were sent."""
    rig = make_rig(make_bars())
    rig.run(0, 4)
    records, working = of_rule_1(rig.records()), dict(rig.engine.portfolio.working)
    books = rig.engine.portfolio.books
    monkeypatch.setattr(trading.redecide, "decide", wrong)
    rig.start()
    assert restore_engine(rig.engine, records) == [one.order for one in working.values()]
    assert rig.engine.portfolio.working == working
    assert rig.engine.portfolio.books == books


def test_a_newer_rule_is_told_in_one_line(make_bars, make_rig):
    """Replay and recovery of a rule that is not known here say whose rule, which, and the way out."""
    rig = make_rig(make_bars(count=3))
    rig.run(0, 2)
    newer = [
        replace(one, body={"rule": CURRENT_RULE + 1, "decision_id": one.body["decision_id"]})
        if one.kind == "decision"
        else one
        for one in rig.records()
    ]
    rig.start()
    rig.broker.submit = wrong
    told = (
        rf"decision trading/\S+ was made by rule {CURRENT_RULE + 1} "
        rf"and this version knows rules up to {CURRENT_RULE}"
    )
    with pytest.raises(InputError, match=told) as refused:
        restore_engine(rig.engine, [one for one in newer if one.kind == "decision"])
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=told):
        redecide_orders(newer[0].body)


@pytest.mark.parametrize("number", [0, -1, "1", 1.0, True, None])
def test_what_is_no_number_of_a_rule_is_no_decision(number):
    """A rule that was never written marks a body that is no decision."""
    with pytest.raises(ChainBrokenError, match="its rule is"):
        redecide_orders(kept()[0]["body"] | {"rule": number})
