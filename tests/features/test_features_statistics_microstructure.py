"""Liquidity, order book and trade flow: known parameters are recovered, formulas are the papers'."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alphaloop.errors import InputError
from features import catalogue
from features.engine.operator import Axes


def run(name: str, *series: np.ndarray, output: int = 0, **parameters: Any) -> np.ndarray:
    """The indicator `name` over series `[T]`."""
    operator = catalogue.find_indicator(name).factory(**parameters)
    given = tuple(np.asarray(one, dtype=np.float64)[:, None] for one in series)
    times = np.datetime64("2020-01-01T21:00", "ns") + np.arange(len(given[0])) * np.timedelta64(1, "D")
    return operator.batch(given, Axes(times, ("A",)))[output][:, 0]


@pytest.mark.parametrize("spread", [0.002, 0.01])
def test_the_roll_spread_of_a_bounce_is_found(spread: float) -> None:
    """Trades at random at bid or ask of a walking middle show the spread between these."""
    random = np.random.default_rng(1)
    middle = np.exp(np.cumsum(random.normal(0, spread / 10, 5001)))
    close = 40 * middle * (1 + spread / 2 * random.choice([-1, 1], 5001))
    assert run("roll_spread", close, length=5000)[-1] == pytest.approx(spread, rel=0.05)


def test_a_price_that_goes_on_has_no_roll_spread() -> None:
    """Returns that do not revert give 0, and so do rounding errors of steady growth."""
    assert run("roll_spread", 1.01 ** np.arange(80.0), length=60)[-1] == 0
    trending = np.exp(np.cumsum(np.repeat([0.01, -0.01], 40)))
    assert run("roll_spread", trending, length=60)[-1] == 0


def test_corwin_and_schultz_find_a_spread_in_ranges() -> None:
    """Ranges of a Brownian motion widened by half a spread on each side give back that spread, and ranges
    that hold none a far smaller one.
    """
    random = np.random.default_rng(2)
    bars, steps = 3000, 390
    path = np.cumsum(random.normal(0, 0.01 / math.sqrt(steps), bars * steps)).reshape(bars, steps)
    high, low, close = np.exp(path.max(axis=1)), np.exp(path.min(axis=1)), np.exp(path[:, -1])
    for spread in (0.01, 0.03):
        found = run(
            "corwin_schultz_spread", high * (1 + spread / 2), low * (1 - spread / 2), close, length=bars - 1
        )
        assert found[-1] == pytest.approx(spread, abs=0.002)
    assert run("corwin_schultz_spread", high, low, close, length=bars - 1)[-1] < 0.005


def test_corwin_and_schultz_by_hand() -> None:
    """Two bars without a night's gap, by the paper's equations 14 and 18."""
    high, low, close = np.array([103.0, 104.0]), np.array([99.0, 100.5]), np.array([101.0, 102.0])
    beta = math.log(103 / 99) ** 2 + math.log(104 / 100.5) ** 2
    gamma = math.log(104 / 99) ** 2
    root = 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / root - math.sqrt(gamma / root)
    expected = 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha))
    assert expected > 0
    assert run("corwin_schultz_spread", high, low, close, length=1)[-1] == pytest.approx(expected)
    # The same bar after a night's jump: moved back to the earlier close, it has the same spread.
    jumped = np.array([103.0, 114.0]), np.array([99.0, 110.5]), np.array([100.5, 112.0])
    assert run("corwin_schultz_spread", *jumped, length=1)[-1] == pytest.approx(expected)


def test_abdi_and_ranaldo_find_a_spread() -> None:
    """Closes at bid or ask around a walk whose ranges are known give back the spread."""
    random = np.random.default_rng(3)
    bars, steps, spread = 4000, 100, 0.02
    path = np.cumsum(random.normal(0, 0.01 / math.sqrt(steps), bars * steps)).reshape(bars, steps)
    high, low = np.exp(path.max(axis=1) + spread / 2), np.exp(path.min(axis=1) - spread / 2)
    close = np.exp(path[:, -1] + spread / 2 * random.choice([-1, 1], bars))
    found = run("abdi_ranaldo_spread", high, low, close, length=bars - 1)[-1]
    assert found == pytest.approx(spread, rel=0.15)


def test_kyles_lambda_is_the_impact_per_unit() -> None:
    """Price changes of impact times signed volume give back the impact, exactly without noise and closely
    with it where the sides of trades are known.
    """
    random = np.random.default_rng(4)
    flow = random.normal(0, 1e5, 1001)
    impact = 3e-7
    close = 50 + np.cumsum(impact * flow)
    assert run("kyle_lambda", close, np.abs(flow), length=1000)[-1] == pytest.approx(impact, rel=1e-9)
    noisy = close + np.cumsum(random.normal(0, 0.03, 1001))
    bought, sold = np.maximum(flow, 0), np.maximum(-flow, 0)
    assert run("trade_impact", noisy, bought, sold, length=1000)[-1] == pytest.approx(impact, rel=0.08)
    expected = stats.linregress((bought - sold)[1:], np.diff(noisy)).slope
    assert run("trade_impact", noisy, bought, sold, length=1000)[-1] == pytest.approx(expected, rel=1e-9)


def test_hasbroucks_lambda_is_a_regression_on_roots() -> None:
    """The slope equals scipy's regression of log returns on signed roots of money."""
    random = np.random.default_rng(5)
    close = 20 * np.exp(np.cumsum(random.normal(0, 0.01, 62)))
    volume = random.lognormal(10, 1, 62)
    returns = np.diff(np.log(close))
    expected = stats.linregress(np.sign(returns) * np.sqrt(close * volume)[1:], returns).slope
    assert run("hasbrouck_lambda", close, volume, length=61)[-1] == pytest.approx(expected, rel=1e-9)


def test_amihud_and_shares_by_hand() -> None:
    """Three bars worked out by hand; a bar without volume does not count, and none at all is NaN."""
    close, volume = np.array([10.0, 11.0, 11.0, 9.9]), np.array([5.0, 1000.0, 0.0, 2000.0])
    expected = 1e6 * (0.1 / 11_000 + 0.1 / 19_800) / 2
    assert run("amihud_illiquidity", close, volume, length=3)[-1] == pytest.approx(expected)
    assert math.isnan(run("amihud_illiquidity", close, np.zeros(4), length=3)[-1])
    assert math.isnan(run("kyle_lambda", close, np.zeros(4), length=3)[-1])
    assert run("zero_return_share", close, length=3)[-1] == pytest.approx(1 / 3)
    assert run("money_traded", close, volume, length=2)[-1] == pytest.approx(9900)
    assert run("relative_volume", volume, length=3)[-1] == pytest.approx(2000 / 335)
    assert run("relative_volume", np.zeros(4), length=3)[-1] == 1
    assert run("turnover", volume, np.full(4, 1e5), length=2)[-1] == pytest.approx(0.01)


BOOK = {
    "bid_price_1": 99.0, "ask_price_1": 101.0, "bid_size_1": 30.0, "ask_size_1": 10.0,
    "bid_price_2": 98.0, "ask_price_2": 102.0, "bid_size_2": 20.0, "ask_size_2": 40.0,
}  # fmt: skip


def from_book(name: str, output: int = 0, **parameters: Any) -> float:
    """The indicator over one bar of a book of two levels; deeper ones are empty."""
    columns = []
    for column in catalogue.find_indicator(name).inputs:
        empty = 0.0 if "size" in column else BOOK["bid_price_1"]
        columns.append(np.array([BOOK.get(column, empty)]))
    return float(run(name, *columns, output=output, **parameters)[0])


def test_the_book_by_hand() -> None:
    """Imbalance, depth, microprice, spread and slope of a small book, worked out by hand."""
    assert from_book("book_imbalance") == 0.5
    assert from_book("microprice") == 100.5
    assert from_book("microprice_premium") == 0.5
    assert from_book("quoted_spread") == pytest.approx(0.02)
    assert from_book("book_depth") == 50 and from_book("book_depth", output=1) == 50
    assert from_book("depth_imbalance") == 0 and from_book("depth_imbalance", levels=1) == 0.5
    # 50 units, 30 of them 1 % and 20 of them 2 % away: 1.4 % on average.
    assert from_book("book_slope") == pytest.approx(50 / 0.014)
    assert from_book("book_slope", output=1, levels=1) == pytest.approx(10 / 0.01)
    with pytest.raises(InputError, match="levels is 6"):
        catalogue.build_indicator("book_depth", named={"levels": 6})


def test_order_flow_imbalance_by_hand() -> None:
    """What came to the bid and left the ask between two looks at the book (Cont et al., equation 10)."""
    bid, ask = np.array([99.0, 99.0, 99.5]), np.array([101.0, 101.0, 101.0])
    bid_size, ask_size = np.array([30.0, 50.0, 20.0]), np.array([10.0, 10.0, 4.0])
    # First 20 more at the bid; then a better bid of 20, and 6 fewer at the ask.
    size = (bid_size + ask_size).mean() / 2
    found = run("order_flow_imbalance", bid, ask, bid_size, ask_size, length=2)[-1]
    assert found == pytest.approx((20 + 20 + 6) / size)


def test_trade_imbalance_and_toxicity_by_hand() -> None:
    """Two bars of known sides; without trades there is no imbalance."""
    bought, sold = np.array([60.0, 10.0]), np.array([40.0, 90.0])
    assert run("trade_imbalance", bought, sold)[-1] == pytest.approx(-0.8)
    assert run("trade_imbalance", bought, sold, length=2)[-1] == pytest.approx(-0.3)
    assert run("trade_toxicity", bought, sold, length=2)[-1] == pytest.approx(0.5)
    assert run("trade_toxicity", np.zeros(2), np.zeros(2), length=2)[-1] == 0
    assert run("bought_share", bought + sold, bought, sold)[-1] == pytest.approx(0.1)


def test_bulk_classification_is_the_normal_distribution_of_the_change() -> None:
    """The share bought is scipy's normal distribution at change over deviation, a half if prices stand."""
    close = 30 + np.cumsum(np.random.default_rng(6).normal(0, 0.2, 60))
    changes = np.diff(close)[-50:]
    expected = stats.norm.cdf(changes[-1] / changes.std(ddof=1))
    assert run("bulk_buy_share", close, length=50)[-1] == pytest.approx(expected, rel=1e-12)
    assert run("bulk_buy_share", np.full(60, 0.1), length=50)[-1] == 0.5


def plain_vpin(share: list[float], volume: list[float], bucket: float, buckets: int) -> float:
    """VPIN with true buckets, filled unit by unit of volume in the plainest way."""
    full: list[float] = []
    signed = filled = 0.0
    for part, size in zip(share, volume, strict=True):
        left = size
        while filled + left >= bucket:
            room = bucket - filled
            full.append(abs(signed + (2 * part - 1) * room) / bucket)
            left, signed, filled = left - room, 0.0, 0.0
        signed, filled = signed + (2 * part - 1) * left, filled + left
    return sum(full[-buckets:]) / buckets if len(full) >= buckets else math.nan


def test_vpin_fills_true_buckets() -> None:
    """With bars smaller than a bucket, of several buckets and of none, VPIN equals a plain filling."""
    random = np.random.default_rng(7)
    share = random.uniform(0, 1, 300)
    volume = np.round(random.lognormal(3, 1.5, 300))
    volume[50:60] = 0
    volume[200] = 5000
    found = run("vpin_buckets", share, volume, bucket=64.0, buckets=10)
    for bar in (3, 40, 59, 100, 199, 200, 201, 299):
        expected = plain_vpin(share[: bar + 1].tolist(), volume[: bar + 1].tolist(), 64.0, 10)
        assert found[bar] == pytest.approx(expected, rel=1e-9, nan_ok=True), bar


def test_vpin_is_between_none_and_all() -> None:
    """VPIN is 0 if both sides are equal, 1 if all are on one, and between for others; equal volumes make the
    approximation by bars and the true buckets one.
    """
    volume = np.full(80, 1000.0)
    shares = np.random.default_rng(8).uniform(0, 1, 80)
    for share, expected in ((np.full(80, 0.5), 0.0), (np.ones(80), 1.0)):
        assert run("vpin", share, volume, length=50)[-1] == expected
        assert run("vpin_buckets", share, volume, bucket=1000.0, buckets=50)[-1] == expected
    by_bars = run("vpin", shares, volume, length=50)
    by_buckets = run("vpin_buckets", shares, volume, bucket=1000.0, buckets=50)
    np.testing.assert_allclose(by_bars[49:], by_buckets[49:], rtol=1e-9)
    assert 0.3 < by_bars[-1] < 0.7
    assert run("vpin", shares, np.zeros(80), length=50)[-1] == 0
