"""Walk-forward evaluation: out-of-sample scores, and the figures of trading them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import FloatMatrix, Timestamps, to_datetime
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.strategy import Strategy
from alphaloop.settings.settings import Settings
from alphaloop.statistics.bars_per_year import bars_per_year
from alphaloop.statistics.information_coefficient import information_coefficients
from alphaloop.statistics.purged_folds import Fold
from features.compute.batch import FeatureFrame
from models.dataset import complete_windows, feature_windows, make_dataset
from models.evaluation import splits
from models.evaluation.horizon_tstat import horizon_tstat
from models.evaluation.permutation_test import permutation_test
from models.evaluation.sharpe_ratio import deflated_sharpe, sharpe_ratio
from models.evaluation.simulated_portfolio import SimulatedPortfolio, equal_weight_scores, simulate_portfolio
from models.family import Family, FittedModel, Parameters
from models.labels import forward_returns

Vector = npt.NDArray[np.float64]
ProgressCallback = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPolicy:
    """Rules by which models are compared: label, folds, strategy and costs.

    Parameters
    ----------
    horizon : int
        Bars that a label spans.
    first_test_year : int or None
        Calendar year in which tests start, if `first_test` is empty; for None see
        `models.evaluation.splits.walk_forward_folds`.
    folds : int
        Number of test folds.
    seed : int
        Seed of fits and permutations.
    strategy : Strategy
        Turns scores into weights; the one that will trade.
    costs : CostModel
        Trading costs.
    first_test : str
        Start of the tests: a share of the bars, or a day.
    permutations : int
        Permutations of the symbols with which the IC is compared; with 0 there is no test and its p-value is
        NaN.
    limits : BookLimits
        Limits of the book.
    benchmark : AllocationStrategy
        Allocation by which equal weight, the benchmark of the active return, is held.
    """

    horizon: int
    first_test_year: int | None
    folds: int
    seed: int
    strategy: Strategy
    costs: CostModel
    first_test: str = ""
    permutations: int = 0
    limits: BookLimits = field(default_factory=BookLimits)
    benchmark: AllocationStrategy = field(default_factory=AllocationStrategy)

    @classmethod
    def from_settings(cls, settings: Settings, strategy: Strategy) -> EvaluationPolicy:
        """Return the policy that the settings describe, with the strategy that they name."""
        training, trading = settings.training, settings.trading
        return cls(
            horizon=training.horizon,
            first_test_year=training.first_test_year,
            folds=training.folds,
            seed=training.seed,
            strategy=strategy,
            costs=CostModel.from_settings(trading),
            first_test=training.first_test,
            permutations=training.permutations,
            limits=BookLimits.from_settings(trading),
            benchmark=AllocationStrategy.from_settings(trading),
        )

    def walk_forward(self, timestamps: Timestamps) -> list[Fold]:
        """Return the folds over closes, `timestamps` `[bars]`; raise `DataError` where these do not fit."""
        start = self.first_test or self.first_test_year
        return splits.walk_forward_folds(timestamps, start, self.folds, self.horizon)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Out-of-sample figures of a family over all test folds together.

    Ratios are annual and net of cost. All returns start at the obtainable price.

    Parameters
    ----------
    timestamps : ndarray of datetime64[ns], shape [timestamps]
        All bars.
    symbols : tuple of str
        The symbols.
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores, NaN outside the tests.
    net_returns, active_returns : ndarray of float64, shape [timestamps]
        Returns of the portfolio, and returns over equal weight, which pays the same costs.
    ic, ic_one_bar : float
        Mean rank correlation with the return over the horizon, and with that of one bar.
    ic_tstat, ic_pvalue, arrangements : float
        t-statistic that allows for overlapping labels; share of the same scores under other symbols whose IC
        is as significant; and number of orders of those symbols.
    sharpe_net, equal_weight_sharpe, active_ir_net : float
        Sharpe ratios of the portfolio and of equal weight, and information ratio over equal weight.
    turnover : float
        Mean one-way turnover of a bar, as a share of capital.
    deflated_sharpe : float
        Probability that the true Sharpe ratio of the active returns is positive, after `trials`.
    trials : int
        Number of parameter sets tried.
    years : float
        Years of tests.
    bars : int
        Bars of tests.
    folds : tuple of mapping
        One row a fold.
    ranges : mapping
        Distributions to expect live.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    scores: FloatMatrix
    net_returns: Vector
    active_returns: Vector
    ic: float
    ic_tstat: float
    ic_pvalue: float
    arrangements: float
    ic_one_bar: float
    sharpe_net: float
    equal_weight_sharpe: float
    active_ir_net: float
    turnover: float
    deflated_sharpe: float
    trials: int
    years: float
    bars: int
    folds: tuple[Mapping[str, Any], ...]
    ranges: Mapping[str, Any]

    def metrics(self) -> dict[str, float]:
        """Return the figures that are stored on the card."""
        names = (
            "ic", "ic_tstat", "ic_pvalue", "ic_one_bar", "sharpe_net", "equal_weight_sharpe", "active_ir_net",
            "turnover", "deflated_sharpe", "trials", "years", "bars",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def walk_forward(
    family: Family,
    parameters: Parameters,
    frame: FeatureFrame,
    close: FloatMatrix,
    policy: EvaluationPolicy,
    *,
    trials: int = 0,
    on_progress: ProgressCallback | None = None,
) -> Evaluation:
    """Fit on the past of each fold, score its test, and evaluate all tests together.

    Parameters
    ----------
    family : Family
        Model family.
    parameters : mapping of str to object
        Parameters of every fit.
    frame : FeatureFrame
        Features of the bars.
    close : ndarray of float64, shape [timestamps, symbols]
        Adjusted closes of the same bars.
    policy : EvaluationPolicy
        Label, folds, strategy and costs.
    trials : int
        Number of attempts among which the parameters were chosen.
    on_progress : callable, optional
        Called with a line of text at each fold.

    Returns
    -------
    Evaluation
        Out-of-sample scores and figures.

    Raises
    ------
    DataError
        Where the bars do not fit the folds, or no sample is complete.
    StrategyError
        Where the strategy fails on any bar.

    References
    ----------
    López de Prado 2018, "Advances in Financial Machine Learning", chapter 7.
    """
    folds = policy.walk_forward(frame.timestamps)
    dataset = make_dataset(frame, close, policy.horizon)
    scores = np.full(close.shape, np.nan)
    for number, fold in enumerate(folds):
        if on_progress is not None:
            on_progress(f"walk-forward fold {number + 1} of {len(folds)}")
        fitted = family.fit(dataset.only(fold.train), parameters, policy.seed)
        scores[fold.test.start : fold.test.stop] = score_bars(family, fitted, frame, fold.test)
    return evaluate_scores(scores, close, frame, folds, policy, trials=trials)


def score_bars(family: Family, fitted: FittedModel, frame: FeatureFrame, rows: range) -> FloatMatrix:
    """Compute the scores of the bars `rows`, float64 `[rows, symbols]`; NaN for incomplete inputs."""
    bars = np.arange(rows.start, rows.stop)
    complete = complete_windows(frame.values, bars, family.lookback)
    scores = np.full(complete.shape, np.nan)
    row, symbol = np.nonzero(complete)
    if len(row) == 0:
        return scores
    panel = feature_windows(frame.values, bars[row], symbol, family.lookback)
    if family.cross_sectional:
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        parts = np.split(panel, starts[1:])
        scores[row, symbol] = np.concatenate([fitted.predict(part) for part in parts])
    else:
        scores[row, symbol] = fitted.predict(panel)
    return scores


def evaluate_scores(
    scores: FloatMatrix,
    close: FloatMatrix,
    frame: FeatureFrame,
    folds: list[Fold],
    policy: EvaluationPolicy,
    *,
    trials: int,
) -> Evaluation:
    """Evaluate out-of-sample `scores` `[timestamps, symbols]` over the tests of `folds`."""
    tested = slice(folds[0].test.start, folds[-1].test.stop)
    labels = forward_returns(close, policy.horizon)
    ic = information_coefficients(scores, labels)
    permuted = permutation_test(
        scores[tested], labels[tested], policy.horizon, permutations=policy.permutations, seed=policy.seed
    )
    one_bar = information_coefficients(scores, forward_returns(close, 1))
    book = _book_of(scores, close, frame, tested, policy, policy.strategy)
    equal = _book_of(equal_weight_scores(close), close, frame, tested, policy, policy.benchmark)
    active = book.net_returns - equal.net_returns
    periods = bars_per_year(frame.timestamps[tested])
    return Evaluation(
        timestamps=frame.timestamps,
        symbols=frame.symbols,
        scores=scores,
        net_returns=book.net_returns,
        active_returns=active,
        ic=_mean(ic[tested]),
        ic_tstat=horizon_tstat(ic[tested], policy.horizon),
        ic_pvalue=permuted.pvalue,
        arrangements=permuted.arrangements,
        ic_one_bar=_mean(one_bar[tested]),
        sharpe_net=sharpe_ratio(book.net_returns[tested], periods),
        equal_weight_sharpe=sharpe_ratio(equal.net_returns[tested], periods),
        active_ir_net=sharpe_ratio(active[tested], periods),
        turnover=float(book.turnover[tested].mean()),
        deflated_sharpe=deflated_sharpe(active[tested], max(trials, 1)),
        trials=trials,
        years=(tested.stop - tested.start) / periods,
        bars=tested.stop - tested.start,
        folds=tuple(
            _fold_row(number, fold, frame.timestamps, ic, one_bar, book, active)
            for number, fold in enumerate(folds)
        ),
        ranges=_ranges(scores[tested], ic[tested], one_bar[tested], book, active[tested], tested),
    )


def _book_of(
    scores: FloatMatrix,
    close: FloatMatrix,
    frame: FeatureFrame,
    tested: slice,
    policy: EvaluationPolicy,
    strategy: Strategy,
) -> SimulatedPortfolio:
    book = simulate_portfolio(
        scores[tested],
        close[tested],
        strategy,
        policy.costs,
        policy.limits,
        timestamps=frame.timestamps[tested],
        symbols=frame.symbols,
        outside=None if frame.outside is None else frame.outside[tested],
    )
    series = []
    for values in (book.net_returns, book.turnover, book.cost):
        whole = np.zeros(len(close))
        whole[tested] = values
        series.append(whole)
    return SimulatedPortfolio(*series)


def _fold_row(
    number: int,
    fold: Fold,
    timestamps: Timestamps,
    ic: Vector,
    one_bar: Vector,
    book: SimulatedPortfolio,
    active: Vector,
) -> dict[str, Any]:
    test = slice(fold.test.start, fold.test.stop)
    periods = bars_per_year(timestamps[test])
    return {
        "fold": number,
        "train_first": to_datetime(timestamps[fold.train[0]]).isoformat(),
        "train_last": to_datetime(timestamps[fold.train[-1]]).isoformat(),
        "test_first": to_datetime(timestamps[fold.test[0]]).isoformat(),
        "test_last": to_datetime(timestamps[fold.test[-1]]).isoformat(),
        "bars": len(fold.test),
        "ic": _mean(ic[test]),
        "ic_one_bar": _mean(one_bar[test]),
        "sharpe_net": sharpe_ratio(book.net_returns[test], periods),
        "active_ir_net": sharpe_ratio(active[test], periods),
        "turnover": float(book.turnover[test].mean()),
        "cost": float(book.cost[test].mean()),
    }


def _ranges(
    scores: FloatMatrix, ic: Vector, one_bar: Vector, book: SimulatedPortfolio, active: Vector, tested: slice
) -> dict[str, Any]:
    scored = np.isfinite(scores).sum(axis=1) > 1
    persistence = information_coefficients(scores[1:], scores[:-1])
    return {
        "ic": summarise_distribution(ic),
        "ic_one_bar": summarise_distribution(one_bar),
        "score": summarise_distribution(scores),
        "score_dispersion": summarise_distribution(np.nanstd(scores[scored], axis=1)),
        "score_persistence": summarise_distribution(persistence),
        "turnover": summarise_distribution(book.turnover[tested]),
        "cost": summarise_distribution(book.cost[tested]),
        "active_return": summarise_distribution(active),
    }


def summarise_distribution(values: npt.ArrayLike) -> dict[str, float]:
    """Return mean, standard deviation and quantiles of the finite values; NaN where there are none."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    quantiles = np.quantile(flat, levels) if len(flat) else np.full(len(levels), np.nan)
    figures = {
        "mean": float(flat.mean()) if len(flat) else float("nan"),
        "std": float(flat.std()) if len(flat) else float("nan"),
    }
    for level, value in zip(levels, quantiles, strict=True):
        figures[f"q{round(level * 100):02d}"] = float(value)
    return figures


def _mean(values: Vector) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
