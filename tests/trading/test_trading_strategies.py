"""A strategy of the user's, in one file, trades, is journaled and replayed by the code that it then had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from alphaloop import plugins
from alphaloop.allocation import AllocationStrategy
from alphaloop.costs import CostModel
from alphaloop.decision.strategy import StrategyIdentity, StrategyView
from alphaloop.errors import (
    AlphaloopError,
    ChainBrokenError,
    InputError,
    NotReplayableError,
    PluginError,
    SettingsError,
    UnknownNameError,
)
from alphaloop.settings.trading import TradingSettings
from trading.backtest import momentum_12_1, run_backtest
from trading.decision import journaled_strategy
from trading.recovery import restore_engine
from trading.redecide import redecide_orders
from trading.risk.risk_check import RiskLimits
from trading.strategy import configured_strategy, find_strategy, recorded_strategy, strategy_names

TOP_NAMES = '''"""Hold the symbols with the best scores, equally."""
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass(frozen=True)
class TopNames:
    """As many names as `count`, of equal weight."""
    name: ClassVar[str] = "top-names"
    count: int = 2
    share: float = 0.5

    def __post_init__(self):
        if self.count < 1:
            raise ValueError("count is a number of names, at least 1")

    def weights(self, view):
        order = np.argsort(np.nan_to_num(view.scores, nan=-np.inf))[::-1]
        return {view.symbols[index]: self.share for index in order[: self.count]}

STRATEGY = TopNames
'''
Write = Callable[..., Path]


@dataclass(frozen=True)
class Chosen:
    """A strategy with a function as its parameter."""

    name: ClassVar[str] = "chosen"
    choose: Callable[[StrategyView], Any]

    def weights(self, view: StrategyView) -> Any:
        return self.choose(view)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Write]:
    """`own(text)`: a file with this strategy is the user's plug-in, as in a process that starts now."""

    def write(text: str = TOP_NAMES, name: str = "top_names.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        plugins._load_once.cache_clear()
        plugins.use_files([path])
        return path

    yield write
    plugins.use_files([])


def test_one_file_adds_a_strategy(own: Write) -> None:
    """A file that defines STRATEGY is found by the class's name, with parameters or without."""
    own()
    assert strategy_names() == ["allocation", "top-names"]
    identity = StrategyIdentity.of(find_strategy("top-names", {"count": 3}))
    assert (identity.name, identity.parameters) == ("top-names", {"count": 3, "share": 0.5})
    assert StrategyIdentity.of(find_strategy("top-names")).parameters["count"] == 2


def test_the_settings_name_the_strategy_and_its_parameters(own: Write) -> None:
    """By default it is the allocation that tilt, rate, band and max_gross describe."""
    own()
    chosen = TradingSettings(strategy="top-names", strategy_parameters={"count": 4})
    assert StrategyIdentity.of(configured_strategy(chosen)).parameters["count"] == 4
    settings = TradingSettings(tilt=0.7, rate=0.2, band=0.1, max_gross=1.5)
    expected = AllocationStrategy(tilt=0.7, rate=0.2, band=0.1, gross=1.5)
    assert configured_strategy(settings) == expected
    assert configured_strategy(TradingSettings()) == AllocationStrategy()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"strategy": "topnames"}, UnknownNameError, "unknown strategy 'topnames'; known: allocation, top-n"),
        (
            {"strategy": "top-names", "strategy_parameters": {"size": 3}},
            UnknownNameError,
            "unknown parameter 'size' in strategy 'top-names'; known: count, share",
        ),
        (
            {"strategy": "top-names", "strategy_parameters": {"count": "many"}},
            SettingsError,
            "setting 'trading.strategy_parameters.count' is 'many': it must be a whole number",
        ),
        (
            {"strategy": "top-names", "strategy_parameters": {"count": 0}},
            SettingsError,
            "count is a number of names, at least 1",
        ),
        (
            {"strategy": "top-names", "rate": 0.3},
            SettingsError,
            "trading.rate belongs to the strategy 'allocation', and trading.strategy is 'top-names'; "
            "set trading.strategy_parameters instead",
        ),
        (
            {"strategy_parameters": {"tilt": 0.3}},
            SettingsError,
            "trading.strategy_parameters has tilt, and the strategy 'allocation' is set by trading.tilt",
        ),
    ],
    ids=["unknown", "no parameter", "wrong kind", "refused", "of allocation", "allocation"],
)
def test_settings_that_name_no_strategy_are_refused(
    own: Write, settings: dict[str, Any], error: type[AlphaloopError], words: str
) -> None:
    """One line names the setting, its value and what there is."""
    own()
    with pytest.raises(error) as refused:
        configured_strategy(TradingSettings(**settings))
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            TOP_NAMES.replace("top-names", "allocation"),
            "two strategies are called 'allocation': one of trading.strategies.allocation, one of /",
        ),
        ("STRATEGY = 3\n", "top_names.py is no strategy; it is a class with a name, a text, and a method"),
        (TOP_NAMES.replace("frozen=True", ""), "top_names.py can change; make it a frozen dataclass"),
        ("STRATEGY = 1 / 0\n", "top_names.py, line 1: ZeroDivisionError: division by zero; mend this file"),
    ],
    ids=["built-in's name", "no class", "mutable", "does not load"],
)
def test_a_file_that_is_no_strategy_is_one_line(own: Write, text: str, words: str) -> None:
    """Whatever is chosen, a plug-in that cannot be used is named with its file."""
    own(text)
    with pytest.raises(PluginError) as refused:
        configured_strategy(TradingSettings())
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_strategy_that_cannot_be_made_is_named(own: Write) -> None:
    """An error in the making of foreign code is one line."""
    own(TOP_NAMES.replace('raise ValueError("', 'raise OSError("'))
    with pytest.raises(SettingsError, match="strategy 'top-names' cannot be made: OSError: count is"):
        find_strategy("top-names", {"count": 0})


def test_it_trades_and_is_journaled_and_replayed(own: Write, make_bars: Any, make_rig: Any) -> None:
    """The journal names strategy, parameters and code; the orders follow from the journal alone."""
    own()
    strategy = find_strategy("top-names")
    rig = make_rig(make_bars(), strategy=strategy, limits=RiskLimits(max_weight=0.6))
    outcomes = rig.run(0, 6)
    bodies = [record.body for record in rig.records("decision")]
    assert {str(journaled_strategy(body)) for body in bodies} == {str(StrategyIdentity.of(strategy))}
    assert bodies[0]["strategy"]["parameters"] == {"count": 2, "share": 0.5}
    assert [redecide_orders(body) for body in bodies] == [list(one.orders) for one in outcomes]
    held = np.array(bodies[2]["quantities"], float) > 0
    assert held.sum(axis=1).tolist() == [2] * 4, "two names a sleeve"


@pytest.mark.parametrize("edit", ["", "edited"])
def test_it_goes_on_after_a_restart(own: Write, make_bars: Any, make_rig: Any, edit: str) -> None:
    """A new process restores books and open orders, even where the file was edited meanwhile."""
    own()
    rig = make_rig(make_bars(), strategy=find_strategy("top-names"))
    rig.run(0, 4)
    working, books = dict(rig.engine.portfolio.working), rig.engine.portfolio.books
    assert working
    if edit:
        own(TOP_NAMES.replace("share: float = 0.5", "share: float = 0.4"))
    else:
        own()
    rig.strategy = find_strategy("top-names")
    rig.start()
    assert restore_engine(rig.engine, rig.records()) == [one.order for one in working.values()]
    assert rig.engine.portfolio.working == working
    assert rig.engine.portfolio.books == books
    rig.run(4, 8)
    assert len({record.body["strategy"]["digest"] for record in rig.records("decision")}) == 1 + bool(edit)


def test_a_decision_of_other_code_cannot_be_replayed(own: Write, make_bars: Any, make_rig: Any) -> None:
    """The edited file, and none at all, are named with the digest of then; nothing is called broken."""
    own()
    rig = make_rig(make_bars(), strategy=find_strategy("top-names"))
    (outcome,) = rig.run(0, 1)
    (record,) = rig.records("decision")
    digest = record.body["strategy"]["digest"][:12]
    own(TOP_NAMES.replace("[::-1]", ""))
    now = StrategyIdentity.of(find_strategy("top-names")).digest[:12]
    with pytest.raises(NotReplayableError) as told:
        redecide_orders(record.body)
    assert str(told.value) == (
        f"not replayable: strategy top-names of digest {digest}: the code of that name here has digest "
        f"{now}; name the file of then in the setting plugins"
    )
    assert told.value.exit_code == 3
    plugins.use_files([])
    with pytest.raises(NotReplayableError, match=f"digest {digest}: none of that name is here"):
        redecide_orders(record.body)
    # The file of then under another name, with another comment, is the same code.
    own(TOP_NAMES + "# put back\n", "of_then.py")
    assert redecide_orders(record.body) == list(outcome.orders)


def test_a_strategy_that_is_there_and_decides_otherwise_is_no_excuse(
    own: Write, make_bars: Any, make_rig: Any
) -> None:
    """Recorded parameters that were altered give other orders; those that cannot be are a broken body."""
    own()
    rig = make_rig(make_bars(), strategy=find_strategy("top-names"))
    (outcome,) = rig.run(0, 1)
    body = rig.records("decision")[0].body

    def altered(**parameters: Any) -> dict[str, Any]:
        return body | {"strategy": body["strategy"] | {"parameters": parameters}}

    assert redecide_orders(altered(count=1)) != list(outcome.orders)
    for wrong in ({"count": "x"}, {"gone": 1}):
        with pytest.raises(ChainBrokenError, match=r"strategy top-names .* cannot have had its parameters"):
            redecide_orders(altered(**wrong))


def test_a_strategy_in_no_file_can_be_backtested_but_not_journaled(make_bars: Any, make_rig: Any) -> None:
    """Code of a notebook, and a parameter that is no JSON value, are refused before a journal is written."""
    space: dict[str, Any] = {"__name__": "sys"}
    exec("class Still:\n    name = 'still'\n    def weights(self, view): return view.current\n", space)
    still = space["Still"]()
    bars = make_bars()
    assert run_backtest(bars, np.zeros(bars.close.shape), strategy=still).orders == 0
    with pytest.raises(InputError, match="'still' is in no file, so that no journal can name its code"):
        make_rig(bars, strategy=still)
    by_function = Chosen(lambda view: view.current)
    assert run_backtest(bars, np.zeros(bars.close.shape), strategy=by_function).orders == 0
    with pytest.raises(InputError, match="'chosen' has a parameter that no journal can hold"):
        make_rig(bars, name="second", strategy=by_function)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("{'ZZZ': 1.0}", "strategy 'top-names' weighs ZZZ, which is no symbol of the book"),
        ("[float('nan')] * 5", "strategy 'top-names' gives S00 the weight nan"),
        ("[0.1, 0.1, -0.5, 0.1, 0.1]", "strategy 'top-names' gives S02 the weight -0.5"),
        ("{}['gone']", "strategy 'top-names' failed on the bar of "),
    ],
)
def test_a_bad_answer_keeps_the_positions(
    own: Write, make_bars: Any, make_rig: Any, answer: str, words: str
) -> None:
    """From the bar on that the strategy fails nothing is ordered; a refusal names it; replay agrees."""
    bars = make_bars()
    moment = bars.timestamps[3].astype("datetime64[s]").astype(int)
    fails = f"        if view.as_of.timestamp() >= {moment}:\n            return {answer}\n"
    own(TOP_NAMES.replace("        order = np", f"{fails}        order = np"))
    rig = make_rig(bars, strategy=find_strategy("top-names"))
    outcomes = rig.run(0, 6)
    assert all(one.orders for one in outcomes[:3]) and not any(one.orders for one in outcomes[3:])
    for outcome in outcomes[3:]:
        (refusal,) = outcome.refusals
        assert (refusal.rule, refusal.sleeves) == ("strategy", rig.engine.portfolio.names)
        assert refusal.reason.startswith(words) and refusal.reason.endswith(": positions are kept")
    quantities = [record.body["quantities"] for record in rig.records("decision")]
    assert quantities[4] == quantities[5] and np.array(quantities[5], float).any()
    assert [redecide_orders(record.body) for record in rig.records("decision")] == [
        list(one.orders) for one in outcomes
    ]


def test_too_much_is_cut_and_told(own: Write, make_bars: Any, make_rig: Any) -> None:
    """Weights above cap and gross are cut to them, each with its refusal, as of every strategy."""
    own(TOP_NAMES.replace("share: float = 0.5", "share: float = 0.9"))
    rig = make_rig(make_bars(), strategy=find_strategy("top-names"), limits=RiskLimits(max_weight=0.6))
    (outcome,) = rig.run(0, 1)
    assert {refusal.rule for refusal in outcome.refusals} == {"max_weight", "max_gross"}
    assert {refusal.symbol for refusal in outcome.refusals if refusal.rule == "max_weight"} < set(
        rig.bars.symbols
    )
    spent = sum(
        order.quantity * Decimal(rig.bars.close[0][rig.bars.symbols.index(order.symbol)])
        for order in outcome.orders
    )
    assert spent <= 1_000_000


def test_backtest_and_its_benchmark_trade_the_strategy(own: Write, make_bars: Any) -> None:
    """Another strategy, or another parameter of it, makes other figures of the same scores."""
    own()
    bars = make_bars(count=40)
    scores = np.random.default_rng(1).normal(size=bars.close.shape)
    free = RiskLimits(max_weight=1, prediction_deadline_ms=None)
    one, two = (find_strategy("top-names", {"count": count}) for count in (1, 2))
    curves = [run_backtest(bars, scores, strategy=each, limits=free).equity for each in (None, one, two)]
    assert len({tuple(curve) for curve in curves}) == 3
    long = make_bars(count=300)
    lines = [momentum_12_1(long, CostModel(), each) for each in (one, two, AllocationStrategy())]
    assert len({tuple(line) for line in lines}) == 3


def test_a_recorded_strategy_is_one_of_name_and_code(own: Write) -> None:
    """The same code under another name is another strategy, and so is the name with other code."""
    own()
    identity = StrategyIdentity.of(find_strategy("top-names"))
    assert StrategyIdentity.of(recorded_strategy(identity)) == identity
    for other in (
        StrategyIdentity("best-names", identity.parameters, identity.digest),
        StrategyIdentity("top-names", identity.parameters, "0" * 64),
        StrategyIdentity("top-names", identity.parameters, ""),
    ):
        with pytest.raises(NotReplayableError):
            recorded_strategy(other)
