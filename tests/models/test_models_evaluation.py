"""Evaluation: the figures are those of the papers, and the book trades as real orders do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.stats import spearmanr

from alphaloop.allocation import AllocationStrategy
from alphaloop.costs import CostModel
from alphaloop.decision.strategy import StrategyView
from alphaloop.errors import StrategyError
from alphaloop.statistics.information_coefficient import information_coefficients
from alphaloop.statistics.newey_west import newey_west_tstat
from models.dataset import Dataset, Panel
from models.evaluation.sharpe_ratio import bars_per_year, deflated_sharpe, sharpe_ratio
from models.evaluation.simulated_portfolio import (
    SimulatedPortfolio,
    equal_weight_scores,
    simulate_portfolio,
)
from models.evaluation.walk_forward import (
    EvaluationPolicy,
    evaluate_scores,
    score_bars,
    summarise_distribution,
    walk_forward,
)
from models.family import Parameters, Scores
from models.zoo import registry


def test_the_information_coefficient_is_spearmans() -> None:
    """Bar by bar it equals scipy's rank correlation over the symbols that have both, ties included."""
    random = np.random.default_rng(1)
    scores = random.integers(0, 6, (30, 9)).astype(float)
    labels = random.normal(size=(30, 9))
    scores[3, :4], labels[4, 2:5] = np.nan, np.nan
    found = information_coefficients(scores, labels)
    for bar in range(30):
        both = np.isfinite(scores[bar]) & np.isfinite(labels[bar])
        assert found[bar] == pytest.approx(spearmanr(scores[bar, both], labels[bar, both]).statistic)


def test_bars_that_cannot_be_ordered_have_no_coefficient() -> None:
    """Two symbols, or scores that do not vary, give NaN and no warning."""
    scores = np.array([[1.0, 2.0, np.nan], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    labels = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(information_coefficients(scores, labels), [np.nan, np.nan, 1.0])


def test_overlapping_labels_do_not_make_a_mean_more_certain() -> None:
    """On overlapping sums the Newey-West t-statistic rejects a true null far less than a plain one."""
    random = np.random.default_rng(2)
    plain, adjusted = [], []
    for _ in range(300):
        overlapping = np.convolve(random.normal(size=505), np.ones(5), "valid")
        plain.append(newey_west_tstat(overlapping, 0))
        adjusted.append(newey_west_tstat(overlapping, 5))
    assert np.mean(np.abs(plain) > 2) > 0.3
    assert np.mean(np.abs(adjusted) > 2) < 0.15
    independent = random.normal(size=400)
    usual = independent.mean() / independent.std() * math.sqrt(400)
    assert newey_west_tstat(independent, 0) == pytest.approx(usual)
    assert math.isnan(newey_west_tstat([1.0, np.nan], 1))
    assert math.isnan(newey_west_tstat([1.0] * 9, 1))


def test_the_sharpe_ratio_is_annual_by_the_bars_that_there_are() -> None:
    """Its scale comes from the timestamps, so that hourly and daily bars are each annualised rightly."""
    days = np.datetime64("2015-01-01", "ns") + np.arange(731) * np.timedelta64(1, "D")
    assert bars_per_year(days) == pytest.approx(365.25)
    assert math.isnan(bars_per_year(days[:1]))
    returns = np.tile([0.02, -0.01], 50)
    assert sharpe_ratio(returns, 252) == pytest.approx(0.005 / returns.std(ddof=1) * math.sqrt(252))
    assert math.isnan(sharpe_ratio(np.zeros(9), 252)) and math.isnan(sharpe_ratio([0.1], 252))


def test_the_deflated_sharpe_falls_with_every_trial() -> None:
    """One trial gives the probabilistic Sharpe ratio; more trials make the same returns less credible."""
    from scipy.stats import norm

    returns = np.random.default_rng(3).normal(0.05, 1, 1_000)
    by_trials = [deflated_sharpe(returns, trials) for trials in (1, 5, 50, 500)]
    assert by_trials == sorted(by_trials, reverse=True)
    observed = returns.mean() / returns.std(ddof=1)
    assert by_trials[0] == pytest.approx(norm.cdf(observed * math.sqrt(999)), abs=0.01)
    assert by_trials[0] > 0.95 and by_trials[-1] < 0.5
    assert math.isnan(deflated_sharpe(np.zeros(10), 1))


def test_the_best_of_many_skilless_trials_is_not_believed() -> None:
    """The best of twenty random strategies looks good alone and is about even odds once deflated."""
    random = np.random.default_rng(4)
    alone, deflated = [], []
    for _ in range(40):
        best = max(random.normal(size=(20, 500)), key=lambda returns: returns.mean() / returns.std())
        alone.append(deflated_sharpe(best, 1))
        deflated.append(deflated_sharpe(best, 20))
    assert np.median(alone) > 0.95
    assert 0.25 < np.median(deflated) < 0.75


def simulated(scores: np.ndarray, close: np.ndarray, *chosen: Any) -> SimulatedPortfolio:
    """The gate's portfolio on daily bars; `chosen` are strategy, costs and limits."""
    days = np.datetime64("2020-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    symbols = tuple(f"S{index}" for index in range(close.shape[1]))
    return simulate_portfolio(scores, close, *chosen, timestamps=days, symbols=symbols)


def test_a_score_is_traded_at_the_next_close() -> None:
    """What happens between a score and the next close is not earned; what happens after it is."""
    close = np.array([[100.0, 100], [100, 100], [200, 100], [200, 100], [400, 100]])
    policy = AllocationStrategy(tilt=1.0, rate=1.0, band=0.0)
    scores = np.full(close.shape, np.nan)
    scores[1] = [1.0, 0.0]  # made at close 1, traded at close 2, after the first doubling
    book = simulated(scores, close, policy, CostModel(0, 0))
    np.testing.assert_allclose(book.net_returns, [0, 0, 0, 0, 1.0])
    np.testing.assert_allclose(book.turnover, 0)


def test_costs_are_taken_from_what_is_traded() -> None:
    """Net of costs a book earns its gross return less rate times turnover, the first trade excepted."""
    random = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (200, 6)), axis=0))
    scores, policy = random.normal(size=close.shape), AllocationStrategy(band=0.0)
    free = simulated(scores, close, policy, CostModel(0, 0))
    paid = simulated(scores, close, policy, CostModel(10, 40))
    np.testing.assert_allclose(paid.turnover, free.turnover)
    np.testing.assert_allclose(free.net_returns - paid.net_returns, 0.005 * free.turnover)
    assert free.turnover[1] == 0 and free.turnover[2:].min() > 0
    still = simulated(equal_weight_scores(close), close, AllocationStrategy(), CostModel(10, 40))
    assert still.turnover.sum() < 0.1 * paid.turnover.sum()


@dataclass(frozen=True)
class Best:
    """All of the capital in the best score, or what `fail` makes of it."""

    name: ClassVar[str] = "best"
    fail: bool = False

    def weights(self, view: StrategyView) -> dict[str, float]:
        best = view.symbols[int(np.argmax(np.nan_to_num(view.scores, nan=-np.inf)))]
        return {best: float("nan") if self.fail else 1.0}


def test_the_figures_are_of_the_strategy_that_trades(market: Any) -> None:
    """Another strategy makes other figures of the same scores, over the same benchmark of equal weight."""
    close, policy = market.bars.adjusted_close, EvaluationPolicy.from_settings(market.settings, Best())
    folds, scores = policy.walk_forward(market.frame.timestamps), market.frame.values[:, :, 0].astype(float)
    allocation = AllocationStrategy.from_settings(market.settings.trading)
    evaluated = [
        evaluate_scores(scores, close, market.frame, folds, replace(policy, strategy=one), trials=0)
        for one in (Best(), allocation)
    ]
    assert evaluated[0].ic == evaluated[1].ic
    assert evaluated[0].equal_weight_sharpe == evaluated[1].equal_weight_sharpe
    assert evaluated[0].turnover > 2 * evaluated[1].turnover
    assert evaluated[0].sharpe_net != evaluated[1].sharpe_net


def test_a_strategy_that_fails_has_no_figures(market: Any) -> None:
    """The evaluation ends with the strategy's name and the symbol, and makes no card of other weights."""
    policy = EvaluationPolicy.from_settings(market.settings, Best(fail=True))
    folds, scores = policy.walk_forward(market.frame.timestamps), market.frame.values[:, :, 0].astype(float)
    with pytest.raises(StrategyError, match=r"strategy 'best' gives S\d\d the weight nan"):
        evaluate_scores(scores, market.bars.adjusted_close, market.frame, folds, policy, trials=0)


def test_walk_forward_finds_a_signal_that_is_there(market: Any) -> None:
    """On a market with a planted signal trees have a significant IC and earn it; the noise baseline not."""
    policy = EvaluationPolicy.from_settings(market.settings, AllocationStrategy())
    close = market.bars.adjusted_close
    found = {}
    for name, parameters in (("lightgbm", {"minimum_leaf": 50}), ("momentum", {})):
        family = registry.find_family(name)
        complete = family.default_parameters() | parameters
        found[name] = walk_forward(family, complete, market.frame, close, policy)
    learned, baseline = found["lightgbm"], found["momentum"]
    assert learned.ic > 0.1 and learned.ic_tstat > 2
    assert learned.active_ir_net > 0.5 and learned.sharpe_net > learned.equal_weight_sharpe
    assert abs(baseline.ic_tstat) < 3 and baseline.ic < 0.05
    assert len(learned.folds) == 2
    assert sum(row["bars"] for row in learned.folds) == learned.bars
    for row in learned.folds:
        assert row["train_last"] < row["test_first"] < row["test_last"]
        assert row["turnover"] > 0 and np.isfinite(row["ic_one_bar"])
    assert np.isnan(learned.scores[: -learned.bars]).all()
    assert np.isfinite(learned.scores[-learned.bars :]).all()
    assert learned.ranges["score_dispersion"]["mean"] > 0
    assert learned.ranges["turnover"]["mean"] == pytest.approx(learned.turnover)
    assert learned.ranges["ic_one_bar"]["mean"] == pytest.approx(learned.ic_one_bar)


def test_a_figure_is_empty_where_nothing_was_measured() -> None:
    """The distribution of no values is NaN throughout, without an error."""
    assert all(math.isnan(value) for value in summarise_distribution([np.nan]).values())
    assert summarise_distribution([1.0, 3.0])["mean"] == 2.0


@dataclass(frozen=True)
class Relative:
    """A family whose scores depend on the other symbols; remembers the sizes of the panels it saw."""

    name: str = "relative"
    lookback: int = 1
    cross_sectional: bool = True
    score_kind: str = "signal"

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> Relative:
        return self

    def predict(self, panel: Panel) -> Scores:
        column = panel[:, -1, 0]
        return column - column.mean()


def test_a_cross_sectional_family_sees_one_bar_at_a_time(market: Any) -> None:
    """Scores that depend on the other symbols are asked for bar by bar, complete symbols only."""
    family: Any = Relative()
    rows = range(15, 60)
    scores = score_bars(family, family, market.frame, rows)
    assert np.isnan(scores[:5]).all()
    np.testing.assert_allclose(scores[5:].mean(axis=1), 0, atol=1e-6)
    first = market.frame.values[20, :, 0]
    np.testing.assert_allclose(scores[5], first - first.mean(), rtol=1e-6)
    assert np.isnan(score_bars(family, family, market.frame, range(0, 5))).all()
