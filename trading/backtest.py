"""Backtest: known scores traded through the engine, and benchmarks to compare with.

The benchmarks are simulated in float64, with fractional positions, at the same obtainable prices and costs; a
test keeps the two computations in agreement.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, Timestamps, to_datetime, to_datetime64
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.decision.entitlements import infer_entitlements
from alphaloop.decision.returns import fill_forward
from alphaloop.decision.strategy import Strategy, StrategyView, strategy_weights
from alphaloop.sleeve_plan import sleeve_names
from alphaloop.statistics.bars_per_year import TRADING_DAYS_A_YEAR, annual_bars, year_and_month
from alphaloop.universe_mask import outside_universe
from trading.broker import open_broker
from trading.engine import TradingEngine
from trading.execution.instrument_terms import NO_TERMS, InstrumentTerms
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PerformanceMetrics:
    """Figures of a track record, net of costs.

    Parameters
    ----------
    net_return : float
        Return over the whole time.
    sharpe_net : float
        Annual Sharpe ratio.
    max_drawdown : float
        Largest loss from a previous high, as a share.
    volatility : float
        Annual standard deviation of returns.
    """

    net_return: float
    sharpe_net: float
    max_drawdown: float
    volatility: float


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The result of a backtest.

    Parameters
    ----------
    timestamps : ndarray of datetime64[ns], shape [timestamps]
        The bars.
    equity : ndarray of float64, shape [timestamps]
        Equity after each bar's close, in the currency of the prices.
    orders, fills : int
        Number of orders and fills.
    refused : mapping of str to int
        Number of refusals by rule of the risk check.
    turnover : float
        Mean one-way turnover a bar, as a share of equity.
    costs : Decimal
        Costs paid in total.
    cash : float
        Mean share of equity that was not invested.
    """

    timestamps: Timestamps
    equity: Vector
    orders: int
    fills: int
    refused: Mapping[str, int]
    turnover: float
    costs: Decimal
    cash: float

    @property
    def refusals(self) -> int:
        """Number of refusals by all rules."""
        return sum(self.refused.values())

    @property
    def metrics(self) -> PerformanceMetrics:
        """Return, Sharpe ratio, drawdown and volatility of `equity`."""
        return performance_metrics(self.equity, self.timestamps)


def performance_metrics(equity: npt.ArrayLike, timestamps: Timestamps | None = None) -> PerformanceMetrics:
    """Compute return, Sharpe ratio, drawdown and volatility of an equity curve.

    The Sharpe ratio has no risk-free rate: mean over standard deviation of bar returns, times the square root
    of the bars a year. A ruined book has a return of -100 % or less, a drawdown of 100 % or more, and no
    returns afterwards.

    Parameters
    ----------
    equity : array_like of float, shape [bars]
        Equity; values that are not finite are left out.
    timestamps : ndarray of datetime64[ns], shape [bars], optional
        Times of the bars, from which the bars a year are counted; without them, or on exchange days, there
        are 252.

    Returns
    -------
    PerformanceMetrics
        All figures are 0 for fewer than two bars; Sharpe and volatility are 0 for a curve that never moves.

    Raises
    ------
    ValueError
        For equity of another dimension or length than one value a bar.

    References
    ----------
    Sharpe 1994, "The Sharpe Ratio".

    Examples
    --------
    >>> figures = performance_metrics([100.0, 110.0, 99.0])
    >>> round(figures.net_return, 6), round(figures.max_drawdown, 6)
    (-0.01, 0.1)
    """
    curve = np.asarray(equity, dtype=np.float64)
    if curve.ndim != 1:
        raise ValueError(f"an equity curve has one dimension; this one has the shape {curve.shape}")
    if timestamps is not None and len(timestamps) != len(curve):
        raise ValueError(f"{len(curve)} values of an equity curve have {len(timestamps)} timestamps")
    known = np.isfinite(curve)
    curve, times = curve[known], None if timestamps is None else timestamps[known]
    if len(curve) < 2 or curve[0] <= 0:
        return PerformanceMetrics(0.0, 0.0, 0.0, 0.0)
    scale = math.sqrt(TRADING_DAYS_A_YEAR if times is None else annual_bars(times))
    returns = _returns(curve)
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return PerformanceMetrics(
        net_return=float(curve[-1] / curve[0] - 1.0),
        sharpe_net=float(returns.mean() / spread * scale) if spread > 1e-12 else 0.0,
        max_drawdown=float((1.0 - curve / np.maximum.accumulate(curve)).max()),
        volatility=spread * scale,
    )


def _returns(curve: Vector) -> Vector:
    """Return the return of each bar; 0 after the book's ruin."""
    before = np.where(np.minimum.accumulate(curve)[:-1] > 0, curve[:-1], np.inf)
    returns: Vector = np.where(np.isfinite(before), curve[1:] / before - 1.0, 0.0)
    return returns


def run_backtest(
    bars: BarPanel,
    scores: npt.NDArray[np.floating],
    *,
    strategy: Strategy | None = None,
    limits: RiskLimits | None = None,
    costs: CostModel | None = None,
    capital: int = 1_000_000,
    sleeves: int = 1,
    simulated: bool = True,
    terms: InstrumentTerms = NO_TERMS,
) -> BacktestResult:
    """Trade known scores bar by bar through the trading engine.

    Parameters
    ----------
    bars : BarPanel
        Bars to trade on.
    scores : ndarray of float, shape [timestamps, symbols]
        Scores known at each bar's close; a row of NaN trades nothing.
    strategy : Strategy, optional
        Turns scores into weights; by default `AllocationStrategy`.
    limits : RiskLimits, optional
        Risk limits; by default without a prediction deadline.
    costs : CostModel, optional
        Trading costs.
    capital : int
        Initial capital, in the currency of the prices.
    sleeves : int
        Number of capital sleeves; one is enough, because all get the same scores.
    simulated : bool
        Mark of orders that are priced on adjusted data.
    terms : InstrumentTerms
        Lots and ticks of the instruments.

    Returns
    -------
    BacktestResult
        Equity, orders, costs and refusals.

    Raises
    ------
    ValueError
        Where scores and bars differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.bars import BarPanel
    >>> days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[ns]")
    >>> prices = np.array([[10.0], [10.0], [11.0]])
    >>> nothing = np.full((3, 1), np.nan)
    >>> bars = BarPanel(days, ("AAPL",), nothing, nothing, nothing, prices, nothing, np.ones((3, 1)))
    >>> result = run_backtest(bars, np.zeros((3, 1)), capital=1_000, costs=CostModel(0.0, 0.0))
    >>> result.equity.tolist()
    [1000.0, 1000.0, 1100.0]
    """
    costs = costs or CostModel()
    engine = TradingEngine(
        symbols=bars.symbols,
        broker=open_broker("paper", costs, terms),
        forecaster=ArrayForecaster(bars.timestamps, bars.symbols, scores),
        strategy=strategy or AllocationStrategy(),
        risk=RiskCheck(limits or RiskLimits(prediction_deadline_ms=None)),
        costs=costs,
        sleeves=sleeve_names(sleeves),
        capital=capital,
        clock=(clock := ReplayClock(to_datetime(bars.timestamps[0]))),
        journal_writer=None,
        simulated=simulated,
        terms=terms,
    )
    equity = np.empty(len(bars))
    orders = fills = 0
    refused: Counter[str] = Counter()
    traded = cash = 0.0
    for index, bar in enumerate(bars.slices()):
        clock.advance(bar.timestamp)
        outcome = engine.on_bar(bar)
        equity[index] = float(outcome.equity)
        orders, fills = orders + len(outcome.orders), fills + len(outcome.fills)
        refused.update(refusal.rule for refusal in outcome.refusals)
        if outcome.equity > 0:
            cash += float(sum((book.cash for book in engine.portfolio.books), Decimal(0)) / outcome.equity)
            traded += sum(float(fill.quantity * fill.price) for fill in outcome.fills) / equity[index]
    paid = sum((book.costs for book in engine.portfolio.books), Decimal(0))
    return BacktestResult(
        timestamps=bars.timestamps,
        equity=equity,
        orders=orders,
        fills=fills,
        refused=dict(refused.most_common()),
        turnover=traded / len(bars),
        costs=paid,
        cash=cash / len(bars),
    )


def equal_weight(bars: BarPanel, costs: CostModel, start: datetime | None = None) -> Vector:
    """Compute the equity of equal weight in every symbol, rebalanced yearly.

    Rebalancing follows the first close of each calendar year. A symbol that leaves the universe is sold at
    once.

    Parameters
    ----------
    bars : BarPanel
        Bars to trade on.
    costs : CostModel
        Trading costs.
    start : datetime, optional
        First bar; by default the first of `bars`.

    Returns
    -------
    ndarray of float64, shape [bars from start]
        Equity net of costs, from 1.0 at the start.
    """
    years = bars.timestamps.astype("datetime64[Y]")
    first = _first(bars, start)
    prices = fill_forward(bars.close)

    outside = outside_universe(bars)

    def decide(index: int, current: Vector) -> Vector:
        left = np.zeros(len(current), dtype=bool) if outside is None else outside[index]
        if index > first and years[index] == years[index - 1]:
            return np.where(left, 0.0, current)
        known = np.isfinite(prices[index]) & ~left
        return np.where(known, 1.0 / max(int(known.sum()), 1), 0.0)

    return _simulate(bars, costs, decide, first)


def momentum_12_1(
    bars: BarPanel, costs: CostModel, strategy: Strategy, start: datetime | None = None
) -> Vector:
    """Compute the equity of 12-1 momentum through the same strategy.

    The score is the adjusted return from twelve months to one month ago: from 252 to 21 exchange days, or as
    many bars of another frequency as a year and a month have.

    Parameters
    ----------
    bars : BarPanel
        Bars to trade on.
    costs : CostModel
        Trading costs.
    strategy : Strategy
        Turns scores into weights.
    start : datetime, optional
        First bar; earlier bars only warm the score up. Without it the first year is spent in cash.

    Returns
    -------
    ndarray of float64, shape [bars from start]
        Equity net of costs, from 1.0 at the start.

    Raises
    ------
    StrategyError
        Where the strategy fails on any bar.

    References
    ----------
    Jegadeesh and Titman 1993, "Returns to Buying Winners and Selling Losers".
    """
    year, month = year_and_month(bars.timestamps)
    adjusted = fill_forward(bars.adjusted_close)
    scores = np.full(adjusted.shape, np.nan)
    scores[year:] = adjusted[year - month : -month] / adjusted[:-year] - 1.0

    outside = outside_universe(bars)

    def decide(index: int, current: Vector) -> Vector:
        view = StrategyView(to_datetime(bars.timestamps[index]), bars.symbols, scores[index], current)
        return strategy_weights(strategy, view, None if outside is None else outside[index])

    return _simulate(bars, costs, decide, _first(bars, start))


def _simulate(
    bars: BarPanel, costs: CostModel, decide: Callable[[int, Vector], Vector], first: int
) -> Vector:
    """Simulate equity `[bars from first]`: decided at a close, traded at the next obtainable price.

    Shares and open orders follow corporate actions. An order without a price stays open; meanwhile nothing
    new is decided for its symbol. A book without equity is closed.
    """
    close, opened = fill_forward(bars.close), np.where(np.isfinite(bars.open), bars.open, bars.close)
    shares, change, cash = np.zeros(len(bars.symbols)), np.zeros(len(bars.symbols)), 1.0
    factors = bars.adjustment[first].copy()
    equity = np.empty(len(bars) - first)
    for index in range(first, len(bars)):
        seen = np.where(np.isfinite(bars.close[index]), bars.adjustment[index], np.nan)
        due = infer_entitlements(bars.symbols, factors, seen, close[max(index - 1, first)])
        for column, one in due:
            cash += shares[column] * one.payment
            shares[column], change[column] = shares[column] * one.ratio, change[column] * one.ratio
        factors = np.where(np.isfinite(seen), seen, factors)
        done = np.where(np.isfinite(opened[index]), change, 0.0)
        notional = done * np.nan_to_num(opened[index])
        shares, change = shares + done, change - done
        cash -= float(notional.sum() + costs.of_turnover(np.abs(notional).sum()))
        marks = np.nan_to_num(close[index])
        values = shares * marks
        total = cash + float(values.sum())
        equity[index - first] = total
        if total <= 0:
            change = -shares
            continue
        current = values / total
        wanted = (decide(index, current) - current) * total
        decided = np.where(marks > 0, wanted / np.where(marks > 0, marks, 1.0), 0.0)
        change = np.where(change == 0, decided, change)
    return equity


def _first(bars: BarPanel, start: datetime | None) -> int:
    return 0 if start is None else int(np.searchsorted(bars.timestamps, to_datetime64(start), "left"))
