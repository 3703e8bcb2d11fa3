"""Evidence decides for the right reason, at the right layer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.costs import CostModel
from alphaloop.decision.strategy import StrategyView
from alphaloop.statistics.information_coefficient import information_coefficient
from rollouts.evidence.evidence_ledger import EvidenceLedger, Observation
from rollouts.evidence.expected_ranges import ExpectedRanges
from rollouts.evidence.live_performance import PerformanceTracker
from rollouts.evidence.paper_book import PaperBook
from rollouts.rollout_policy_settings import RolloutPolicy

START = datetime(2020, 1, 2, 21, tzinfo=UTC)
SYMBOLS = 20
NAMES = tuple(f"S{number:02d}" for number in range(SYMBOLS))


def _policy() -> RolloutPolicy:
    return RolloutPolicy(
        shadow_bars=5,
        stage_bars=10,
        max_bars=200,
        weights=(0.05, 0.25, 0.5),
        false_rollback=0.01,
        false_promotion=0.05,
    )


def _ledger(ic_floor: float = -1.0, ceiling: float = 1.0) -> EvidenceLedger:
    return EvidenceLedger(
        policy=_policy(),
        expectation=ExpectedRanges(ic_floor=ic_floor, ic_scale=0.25, turnover_ceiling=ceiling),
        strategy=AllocationStrategy(),
        costs=CostModel(),
        tolerance=1e-4,
    )


def _market(bars: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Closes `[bars, symbols]`, and the outcome that a score at each bar could still obtain."""
    rng = np.random.default_rng(seed)
    close = 100 * np.cumprod(1 + rng.normal(0, 0.02, (bars + 2, SYMBOLS)), axis=0)
    outcome = close[2:] / close[1:-1] - 1
    return close[:-2], outcome


def _play(
    ledger: EvidenceLedger, champion: np.ndarray, challenger: np.ndarray, close: np.ndarray, **extra: float
) -> int:
    for bar in range(len(close)):
        ledger.observe(
            Observation(
                as_of=START + timedelta(days=bar),
                symbols=NAMES,
                close=close[bar],
                champion=champion[bar],
                challenger=challenger[bar],
                recomputation=extra.get("recomputation", 0.0),
                errors=int(extra.get("errors", 0)),
            )
        )
        if ledger.verdict().action:
            return bar + 1
    return len(close)


def test_scores_that_cannot_be_recomputed_roll_back_at_the_first_bar() -> None:
    """Recomputation is a measurement: one bar beyond tolerance is enough."""
    close, _ = _market(3, 1)
    scores = np.random.default_rng(1).normal(size=close.shape)
    ledger = _ledger()
    assert _play(ledger, scores, scores, close, recomputation=0.01) == 1
    assert ledger.verdict().action == "rollback"
    assert ledger.verdict().layer == "recomputation"


def test_a_recomputation_that_gives_no_number_is_a_fault_too() -> None:
    """NaN is not within tolerance."""
    close, _ = _market(1, 1)
    ledger = _ledger()
    _play(ledger, close, close, close, recomputation=float("nan"))
    assert ledger.verdict().layer == "recomputation"


def test_failed_answers_roll_back() -> None:
    """Errors of the challenger are a fault of its own layer."""
    close, _ = _market(1, 1)
    ledger = _ledger()
    _play(ledger, close, close, close, errors=1)
    assert ledger.verdict().layer == "guard"


def test_a_model_that_does_not_do_what_its_card_says_is_found_by_behaviour() -> None:
    """A card that promises an IC of 0.3 and a live IC of nothing are told apart within 30 bars."""
    close, _ = _market(80, 2)
    rng = np.random.default_rng(2)
    ledger = _ledger(ic_floor=0.3)
    bars = _play(ledger, rng.normal(size=close.shape), rng.normal(size=close.shape), close)
    assert ledger.verdict().layer == "behaviour"
    assert bars <= 30


def test_a_model_that_trades_far_more_than_its_card_says_is_found_by_cost() -> None:
    """Turnover far above the card's ceiling decides, whatever the returns."""
    close, _ = _market(60, 3)
    rng = np.random.default_rng(3)
    ledger = _ledger(ceiling=0.005)
    _play(ledger, np.tile(rng.normal(size=SYMBOLS), (60, 1)), rng.normal(size=close.shape), close)
    assert ledger.verdict().layer == "cost"


def test_a_better_challenger_earns_promotion_and_a_worse_one_loses() -> None:
    """The same difference, seen from either side, promotes or rolls back."""
    close, outcome = _market(200, 4)
    rng = np.random.default_rng(4)
    noise = rng.normal(size=close.shape)
    informed = outcome / outcome.std() + 2 * noise
    better, worse = _ledger(), _ledger()
    _play(better, noise, informed, close)
    _play(worse, informed, noise, close)
    assert better.verdict().action == "promote"
    assert worse.verdict().action == "rollback"
    assert worse.verdict().layer in ("ic", "pnl")


def test_two_models_without_a_difference_are_left_undecided() -> None:
    """Noise against noise gives no verdict in 150 bars."""
    close, _ = _market(150, 5)
    rng = np.random.default_rng(5)
    ledger = _ledger()
    _play(ledger, rng.normal(size=close.shape), rng.normal(size=close.shape), close)
    assert ledger.verdict().action is None


def test_a_ledger_fed_again_is_the_same_ledger() -> None:
    """Evidence is a function of what was logged, so a restart loses nothing."""
    close, _ = _market(40, 6)
    rng = np.random.default_rng(6)
    scores = rng.normal(size=(2, *close.shape))
    first, second = _ledger(), _ledger()
    _play(first, scores[0], scores[1], close)
    _play(second, scores[0], scores[1], close)
    assert first.summary() == second.summary()
    assert first.series == second.series


def test_the_error_budget_is_not_overspent() -> None:
    """The layers' shares of the false-rollback budget sum to all of it and no more."""
    policy = _policy()
    assert sum(policy.rollback_alpha(layer) for layer in policy.SHARES) == pytest.approx(
        policy.false_rollback
    )


def test_moving_the_capital_is_not_charged_to_the_model() -> None:
    """A paper book's first trade, out of cash, costs nothing; later ones do."""
    book = PaperBook(AllocationStrategy(rate=1.0, band=0.0), CostModel(), NAMES)
    rng = np.random.default_rng(8)
    still = np.zeros(SYMBOLS)
    assert book.step(still, rng.normal(size=SYMBOLS), START).net_return == 0.0
    assert book.step(still, rng.normal(size=SYMBOLS), START + timedelta(days=1)).net_return == 0.0
    step = book.step(still, rng.normal(size=SYMBOLS), START + timedelta(days=2))
    assert step.turnover > 0
    assert step.net_return == pytest.approx(-step.turnover * CostModel().rate)


def test_a_paper_book_sells_who_leaves_the_universe() -> None:
    """From the bar after that of leaving on, the symbol's crash costs the book nothing."""
    close, _ = _market(20, 8)
    crashed = close.copy()
    crashed[12:, 0] *= 0.1
    outside = np.zeros(close.shape, dtype=bool)
    outside[10:, 0] = True
    scores = np.random.default_rng(8).normal(size=close.shape)

    def returns(close: np.ndarray, outside: np.ndarray | None) -> list[float]:
        gauge = PerformanceTracker(AllocationStrategy(), CostModel(), NAMES)
        masks = [None] * len(close) if outside is None else outside
        bars = enumerate(zip(close, scores, masks, strict=True))
        return [gauge.read(START + timedelta(days=bar), *row).net_return for bar, row in bars]

    np.testing.assert_allclose(returns(crashed, outside), returns(close, outside), rtol=1e-12)
    assert returns(crashed, None)[12] < returns(close, None)[12] - 0.01


def test_outcomes_of_several_bars_do_not_overlap() -> None:
    """With a horizon of five the IC looks at returns over five bars, once every five bars."""
    close, _ = _market(23, 9)
    scores = np.random.default_rng(9).normal(size=close.shape)
    gauge = PerformanceTracker(AllocationStrategy(), CostModel(), NAMES, horizon=5)
    days = [START + timedelta(days=bar) for bar in range(len(close))]
    found = [gauge.read(*bar).ic for bar in zip(days, close, scores, strict=True)]
    due = [bar for bar, value in enumerate(found) if np.isfinite(value)]
    assert due == [6, 11, 16, 21]
    for bar in due:
        outcome = close[bar] / close[bar - 5] - 1
        assert found[bar] == pytest.approx(information_coefficient(scores[bar - 6], outcome))


def test_the_paper_books_trade_the_strategy_that_trades() -> None:
    """Both versions' books see the bar that was scored and its symbols; another strategy trades otherwise."""
    seen: list[StrategyView] = []

    class Best:
        name = "best"

        def weights(self, view: StrategyView) -> dict[str, float]:
            seen.append(view)
            return {view.symbols[int(np.argmax(view.scores))]: 1.0}

    close, _ = _market(12, 10)
    champion, challenger = np.random.default_rng(10).normal(size=(2, *close.shape))
    ledgers = _ledger(), replace(_ledger(), strategy=Best())
    for ledger in ledgers:
        _play(ledger, champion, challenger, close)
    assert ledgers[1].summary()["live_turnover"] > 3 * ledgers[0].summary()["live_turnover"]
    assert {view.symbols for view in seen} == {NAMES}
    assert [view.as_of for view in seen[::2]] == [
        START + timedelta(days=bar) for bar in range(len(seen) // 2)
    ]
    assert (seen[0].scores == champion[0]).all() and (seen[1].scores == challenger[0]).all()
