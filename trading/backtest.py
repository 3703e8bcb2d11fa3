"""Backtest: scores known beforehand through the same engine, and the benchmarks to beat.

The benchmarks are simulated in float64, whole positions without lots, at the same obtainable prices and
costs; a test holds the two ways of counting together.
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

from alphaloop.allocation import AllocationPolicy, next_weights
from alphaloop.bars import BarPanel, Timestamps, to_datetime, to_datetime64
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.decision.entitlements import entitlements
from alphaloop.decision.returns import last_known
from alphaloop.rollout_document import sleeve_names
from alphaloop.statistics.bars_per_year import TRADING_DAYS_A_YEAR, annual_bars, year_and_month
from trading.broker import find
from trading.engine import TradingEngine
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits
from trading.strategies.allocation import AllocationStrategy

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """A track record, net of costs: `net_return` over the whole time, Sharpe and volatility by the year."""

    net_return: float
    sharpe_net: float
    max_drawdown: float
    volatility: float


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A backtest: `equity` float64 `[timestamps]` in money, after each bar's close.

    `turnover` is the mean one-way turnover a bar as a share of equity, `costs` what was paid in all,
    `refused` the number of refusals by rule, `cash` the mean share of equity that was not invested.
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
        """Refusals by all rules."""
        return sum(self.refused.values())

    @property
    def metrics(self) -> Metrics:
        """The figures of `equity`."""
        return metrics(self.equity, self.timestamps)


def metrics(equity: npt.ArrayLike, timestamps: Timestamps | None = None) -> Metrics:
    """The figures of an equity curve `[bars]`; Sharpe and volatility are 0 for one that never moves.

    Sharpe (1994), with no risk-free rate: mean over standard deviation of bar returns, times the square
    root of the bars a year of `timestamps` (252 on exchange days, or where none are given). Values that are
    not finite are left out; of less than two bars every figure is 0. A book that is ruined has a return of
    -100 % or less, a drawdown of 100 % or more, and no returns afterwards.
    """
    curve = np.asarray(equity, dtype=np.float64)
    if curve.ndim != 1:
        raise ValueError(f"an equity curve has one dimension; this one has the shape {curve.shape}")
    if timestamps is not None and len(timestamps) != len(curve):
        raise ValueError(f"{len(curve)} values of an equity curve have {len(timestamps)} timestamps")
    known = np.isfinite(curve)
    curve, times = curve[known], None if timestamps is None else timestamps[known]
    if len(curve) < 2 or curve[0] <= 0:
        return Metrics(0.0, 0.0, 0.0, 0.0)
    scale = math.sqrt(TRADING_DAYS_A_YEAR if times is None else annual_bars(times))
    returns = _returns(curve)
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return Metrics(
        net_return=float(curve[-1] / curve[0] - 1.0),
        sharpe_net=float(returns.mean() / spread * scale) if spread > 1e-12 else 0.0,
        max_drawdown=float((1.0 - curve / np.maximum.accumulate(curve)).max()),
        volatility=spread * scale,
    )


def _returns(curve: Vector) -> Vector:
    """Returns of each bar; none after the bar in which a book was ruined."""
    before = np.where(np.minimum.accumulate(curve)[:-1] > 0, curve[:-1], np.inf)
    returns: Vector = np.where(np.isfinite(before), curve[1:] / before - 1.0, 0.0)
    return returns


def backtest(
    bars: BarPanel,
    scores: npt.NDArray[np.floating],
    *,
    policy: AllocationPolicy | None = None,
    limits: RiskLimits | None = None,
    costs: CostModel | None = None,
    capital: int = 1_000_000,
    sleeves: int = 1,
    simulated: bool = True,
) -> BacktestResult:
    """Trade `scores` `[timestamps, symbols]`, known at each bar's close, through the engine.

    Rows of NaN trade nothing. One sleeve is enough: all would be told the same.
    """
    costs = costs or CostModel()
    engine = TradingEngine(
        symbols=bars.symbols,
        broker=find("paper")(costs),
        forecaster=ArrayForecaster(bars.timestamps, bars.symbols, scores),
        strategy=AllocationStrategy(policy or AllocationPolicy()),
        risk=RiskCheck(limits or RiskLimits(prediction_deadline_ms=None)),
        costs=costs,
        sleeves=sleeve_names(sleeves),
        capital=capital,
        clock=(clock := ReplayClock(to_datetime(bars.timestamps[0]))),
        journal_writer=None,
        simulated=simulated,
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
    """Equity of every symbol held alike, net of costs, from 1.0 at `start` (the first bar by default).

    Rebalanced once a year, after the first close of each calendar year. float64 `[bars from start]`.
    """
    years = bars.timestamps.astype("datetime64[Y]")
    first = _first(bars, start)
    prices = last_known(bars.close)

    def decide(index: int, current: Vector) -> Vector:
        if index > first and years[index] == years[index - 1]:
            return current
        known = np.isfinite(prices[index])
        return np.where(known, 1.0 / max(int(known.sum()), 1), 0.0)

    return _simulate(bars, costs, decide, first)


def momentum_12_1(
    bars: BarPanel, costs: CostModel, policy: AllocationPolicy, start: datetime | None = None
) -> Vector:
    """Equity of plain 12-1 momentum (Jegadeesh and Titman 1993) through the same allocation, from 1.0.

    The score is the adjusted return from twelve months to one month ago: from 252 to 21 exchange days, or
    as many bars of another frequency as a year and a month have. Bars before `start` only warm it up;
    without `start` the first year is spent in cash. float64 `[bars from start]`.
    """
    year, month = year_and_month(bars.timestamps)
    adjusted = last_known(bars.adjusted_close)
    scores = np.full(adjusted.shape, np.nan)
    scores[year:] = adjusted[year - month : -month] / adjusted[:-year] - 1.0
    return _simulate(
        bars, costs, lambda index, current: next_weights(scores[index], current, policy), _first(bars, start)
    )


def _simulate(
    bars: BarPanel, costs: CostModel, decide: Callable[[int, Vector], Vector], first: int
) -> Vector:
    """Equity `[bars from first]`: decided at a close, traded at the next obtainable price.

    Shares and open orders follow corporate actions. An order waits for a price; meanwhile nothing new is
    decided for its symbol. A book without equity is closed.
    """
    close, opened = last_known(bars.close), np.where(np.isfinite(bars.open), bars.open, bars.close)
    shares, change, cash = np.zeros(len(bars.symbols)), np.zeros(len(bars.symbols)), 1.0
    factors = bars.adjustment[first].copy()
    equity = np.empty(len(bars) - first)
    for index in range(first, len(bars)):
        seen = np.where(np.isfinite(bars.close[index]), bars.adjustment[index], np.nan)
        due = entitlements(bars.symbols, factors, seen, close[max(index - 1, first)])
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
