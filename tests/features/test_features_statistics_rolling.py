"""Rolling statistics, returns, volatility and Hurst against independent references and known parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alphaloop.errors import InputError
from features import catalogue
from features.engine.arithmetic import moments
from features.engine.operator import Axes
from features.engine.operators.pointwise import Pointwise
from features.engine.operators.window import Window

LENGTH = 30
BARS = 200


def axes(shape: tuple[int, int]) -> Axes:
    """Daily bars of so many symbols."""
    times = np.datetime64("2020-01-01T21:00", "ns") + np.arange(shape[0]) * np.timedelta64(1, "D")
    return Axes(times, tuple(f"S{index}" for index in range(shape[1])))


def values(name: str, *series: np.ndarray, output: int = 0, **parameters: Any) -> np.ndarray:
    """The indicator `name` over series `[T]`."""
    operator = catalogue.find_indicator(name).factory(**parameters)
    given = tuple(np.asarray(one, dtype=np.float64)[:, None] for one in series)
    return operator.batch(given, axes(given[0].shape))[output][:, 0]


def prices(seed: int = 1, bars: int = BARS) -> np.ndarray:
    """A walk with fat tails."""
    return 50 * np.exp(np.cumsum(np.random.default_rng(seed).standard_t(5, bars) * 0.01))


def ohlc(seed: int, bars: int, sigma: float, steps: int = 400) -> tuple[np.ndarray, ...]:
    """Bars of a geometric Brownian motion of volatility `sigma` a bar, watched `steps` times each."""
    path = np.cumsum(np.random.default_rng(seed).normal(0, sigma / math.sqrt(steps), (bars, steps)), axis=1)
    opened = np.concatenate([[0.0], np.cumsum(path[:, -1])[:-1]])
    whole = np.concatenate([opened[:, None], opened[:, None] + path], axis=1)
    return tuple(
        100 * np.exp(one) for one in (whole[:, 0], whole.max(axis=1), whole.min(axis=1), whole[:, -1])
    )


ROLLING: dict[str, tuple[dict[str, Any], Callable[[pd.Series], pd.Series]]] = {
    "rolling_mean": ({}, lambda s: s.rolling(LENGTH).mean()),
    "rolling_std": ({}, lambda s: s.rolling(LENGTH).std()),
    "rolling_variance": ({}, lambda s: s.rolling(LENGTH).var()),
    "rolling_skewness": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: stats.skew(w, bias=False), raw=True),
    ),
    "rolling_kurtosis": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: stats.kurtosis(w, bias=False), raw=True),
    ),
    "rolling_quantile": ({"share": 0.3}, lambda s: s.rolling(LENGTH).quantile(0.3)),
    "rolling_absolute_deviation": (
        {},
        lambda s: s.rolling(LENGTH).apply(stats.median_abs_deviation, raw=True),
    ),
    "rolling_zscore": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: stats.zscore(w, ddof=1)[-1], raw=True),
    ),
    "rolling_slope": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: stats.linregress(range(len(w)), w).slope, raw=True),
    ),
    "rolling_fit": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: stats.linregress(range(len(w)), w).rvalue ** 2, raw=True),
    ),
    "rolling_rank": (
        {},
        lambda s: s.rolling(LENGTH).apply(
            lambda w: 2 * (stats.rankdata(w)[-1] - 1) / (len(w) - 1) - 1, raw=True
        ),
    ),
    "drawdown": ({}, lambda s: s / s.rolling(LENGTH).max() - 1),
    "max_drawdown": (
        {},
        lambda s: s.rolling(LENGTH).apply(lambda w: (w / pd.Series(w).cummax() - 1).min(), raw=True),
    ),
}


@pytest.mark.parametrize("name", ROLLING)
def test_rolling_statistics_are_those_of_pandas_and_scipy(name: str) -> None:
    """Each rolling statistic equals that of an independent library over every window."""
    parameters, reference = ROLLING[name]
    close = prices()
    expected = reference(pd.Series(close)).to_numpy()
    found = values(name, close, length=LENGTH, **parameters)
    assert np.isnan(found[: LENGTH - 1]).all()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_autocorrelation_and_entropy_by_their_definitions() -> None:
    """The autocorrelation and the entropy of signs equal plain loops over the window."""
    close = prices(2)
    window = [float(one) for one in close[-LENGTH:]]
    centre = sum(window) / LENGTH
    for lag in (1, 5):
        top = sum((window[i] - centre) * (window[i - lag] - centre) for i in range(lag, LENGTH))
        bottom = sum((one - centre) ** 2 for one in window)
        found = values("rolling_autocorrelation", close, length=LENGTH, lag=lag)[-1]
        assert found == pytest.approx(top / bottom, rel=1e-10)
    signs = [np.sign(window[i] - window[i - 1]) for i in range(1, LENGTH)]
    expected = stats.entropy([signs.count(one) for one in (-1, 0, 1)], base=3)
    assert values("sign_entropy", close, length=LENGTH - 1)[-1] == pytest.approx(expected, rel=1e-12)


def test_an_autoregression_shows_its_coefficient() -> None:
    """The autocorrelation of a long AR(1) series is its coefficient, at lag 3 the cube of it."""
    noise = np.random.default_rng(3).normal(size=4000)
    series = np.zeros(4000)
    for index in range(1, 4000):
        series[index] = 0.8 * series[index - 1] + noise[index]
    assert values("rolling_autocorrelation", series, length=4000)[-1] == pytest.approx(0.8, abs=0.03)
    assert values("rolling_autocorrelation", series, length=4000, lag=3)[-1] == pytest.approx(0.512, abs=0.05)


def test_returns_by_hand() -> None:
    """Returns of three bars, worked out by hand; nights and days add up to the whole."""
    opens, close = np.array([10.0, 11.0, 9.0]), np.array([10.0, 12.0, 9.9])
    np.testing.assert_allclose(values("simple_return", close), [np.nan, 0.2, -0.175])
    np.testing.assert_allclose(values("cumulative_return", close, length=2)[-1], -0.01)
    np.testing.assert_allclose(values("bar_return", opens, close), [0.0, 1 / 11, 0.1])
    night = values("overnight_return", opens, close, length=2)[-1]
    day = values("intraday_return", opens, close, length=2)[-1]
    assert night == pytest.approx(math.log(1.1) + math.log(0.75))
    assert night + day == pytest.approx(values("log_return", close, bars=2)[-1])
    assert values("up_share", close, length=2)[-1] == 0.5
    steps = [math.log(1.2), math.log(9.9 / 12)]
    ratio = np.mean(steps) / np.std(steps, ddof=1)
    assert values("return_over_risk", close, length=2)[-1] == pytest.approx(ratio)


def _yang_zhang(o: np.ndarray, h: np.ndarray, low: np.ndarray, c: np.ndarray) -> float:
    count = len(c) - 1
    night = [math.log(o[i] / c[i - 1]) for i in range(1, count + 1)]
    day = [math.log(c[i] / o[i]) for i in range(1, count + 1)]
    within = [
        math.log(h[i] / c[i]) * math.log(h[i] / o[i]) + math.log(low[i] / c[i]) * math.log(low[i] / o[i])
        for i in range(1, count + 1)
    ]
    k = 0.34 / (1.34 + (count + 1) / (count - 1))
    return math.sqrt(np.var(night, ddof=1) + k * np.var(day, ddof=1) + (1 - k) * np.mean(within))


def _garman_klass(o: np.ndarray, h: np.ndarray, low: np.ndarray, c: np.ndarray) -> float:
    terms = [
        0.5 * math.log(h[i] / low[i]) ** 2 - (2 * math.log(2) - 1) * math.log(c[i] / o[i]) ** 2
        for i in range(len(c))
    ]
    return math.sqrt(sum(terms) / len(terms))


def test_volatilities_by_their_formulas() -> None:
    """Estimators from ranges equal the papers' formulas, worked out bar by bar."""
    o, h, low, c = ohlc(4, LENGTH + 1, 0.02, steps=20)
    recent = tuple(one[1:] for one in (o, h, low, c))
    expected = {
        "yang_zhang_volatility": _yang_zhang(o, h, low, c),
        "garman_klass_volatility": _garman_klass(*recent),
        "rogers_satchell_volatility": math.sqrt(
            np.mean(
                [
                    math.log(b / d) * math.log(b / a) + math.log(e / d) * math.log(e / a)
                    for a, b, e, d in zip(*recent, strict=True)
                ]
            )
        ),
    }
    for name, value in expected.items():
        assert values(name, o, h, low, c, length=LENGTH)[-1] == pytest.approx(value, rel=1e-12), name
    wide = np.mean([math.log(a / b) ** 2 for a, b in zip(h[1:], low[1:], strict=True)])
    found = values("parkinson_volatility", h, low, length=LENGTH)[-1]
    assert found == pytest.approx(math.sqrt(wide / (4 * math.log(2))), rel=1e-12)
    returns = np.diff(np.log(c))
    assert values("close_volatility", c, length=LENGTH, periods=252.0)[-1] == pytest.approx(
        np.std(returns, ddof=1) * math.sqrt(252), rel=1e-12
    )
    down, up = (values("semi_volatility", c, length=LENGTH, output=side)[-1] for side in (0, 1))
    assert down**2 + up**2 == pytest.approx(np.mean(returns**2), rel=1e-12)
    assert down == pytest.approx(math.sqrt(sum(one**2 for one in returns if one < 0) / LENGTH), rel=1e-12)
    assert values("bipower_volatility", c, length=LENGTH)[-1] ** 2 == pytest.approx(
        math.pi / 2 * np.mean(np.abs(returns[1:]) * np.abs(returns[:-1])), rel=1e-12
    )
    weights = 0.94 ** np.arange(LENGTH)[::-1]
    assert values("riskmetrics_volatility", c, length=LENGTH)[-1] ** 2 == pytest.approx(
        np.average(returns**2, weights=weights), rel=1e-12
    )


@pytest.mark.parametrize(
    ("name", "columns", "tolerance"),
    [
        ("close_volatility", (3,), 0.05),
        ("realised_volatility", (3,), 0.05),
        ("bipower_volatility", (3,), 0.06),
        # A range seen at 400 moments is a little short of the true one: about 0.9/sqrt(400) of it.
        ("parkinson_volatility", (1, 2), 0.06),
        ("garman_klass_volatility", (0, 1, 2, 3), 0.07),
        ("rogers_satchell_volatility", (0, 1, 2, 3), 0.07),
        ("yang_zhang_volatility", (0, 1, 2, 3), 0.07),
    ],
)
def test_the_volatility_of_a_brownian_motion_is_found(
    name: str, columns: tuple[int, ...], tolerance: float
) -> None:
    """Each estimator recovers the volatility with which the bars were simulated."""
    bars = ohlc(5, 1001, 0.013)
    found = values(name, *(bars[column] for column in columns), length=1000)[-1]
    assert found == pytest.approx(0.013, rel=tolerance)


def fractional_noise(hurst: float, length: int, seed: int) -> np.ndarray:
    """Fractional Gaussian noise by the Cholesky root of its covariance."""
    gaps = np.abs(np.subtract.outer(np.arange(length), np.arange(length))).astype(float)
    covariance = ((gaps + 1) ** (2 * hurst) - 2 * gaps ** (2 * hurst) + np.abs(gaps - 1) ** (2 * hurst)) / 2
    return np.linalg.cholesky(covariance) @ np.random.default_rng(seed).normal(size=length)


@pytest.mark.parametrize("name", ["hurst_rescaled_range", "hurst_aggregated_variance"])
@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.75])
def test_the_hurst_exponent_of_fractional_brownian_motion_is_found(name: str, hurst: float) -> None:
    """The mean estimate over independent paths is near the exponent with which they were simulated."""
    found = []
    for seed in range(12):
        close = np.exp(np.cumsum(np.concatenate([[0.0], 0.01 * fractional_noise(hurst, 512, seed)])))
        found.append(values(name, close, length=512)[-1])
    assert np.mean(found) == pytest.approx(hurst, abs=0.08)


def test_expected_range_is_that_of_simulated_noise() -> None:
    """What rescaled ranges are compared with is what independent normal returns show."""
    from features.indicators.hurst import _expected_range

    noise = np.random.default_rng(6).normal(size=(40_000, 16))
    walk = np.cumsum(noise - noise.mean(axis=1, keepdims=True), axis=1)
    wide = np.maximum(walk.max(axis=1), 0) - np.minimum(walk.min(axis=1), 0)
    assert _expected_range(16) == pytest.approx(float((wide / noise.std(axis=1)).mean()), rel=0.01)


@pytest.mark.parametrize("level", [1e12, 1.0, 1e-9])
def test_moments_lose_no_digits_at_any_level(level: float) -> None:
    """Variance, slope and correlation scale with the prices, however huge or tiny these are."""
    ramp = np.arange(20.0)
    window = level * (1 + ramp * 2.0**-20)
    assert moments.window_variance(window) == pytest.approx(level**2 * 35 * 2.0**-40, rel=1e-3)
    small = level * (1 / 3 + ramp * 1e-11)
    centre = sum(map(Fraction, small.tolist())) / 20
    exact = [float(Fraction(one) - centre) for one in small.tolist()]
    np.testing.assert_allclose(moments.deviations(small), exact, rtol=1e-9)
    assert moments.correlation(window, ramp) == pytest.approx(1.0, abs=1e-9)
    assert moments.regression_slope(ramp, window) == pytest.approx(2.0**20 / level, rel=1e-3)


def test_constant_windows_have_no_spread_at_all() -> None:
    """A constant that no float holds exactly has variance 0, and ratios of spreads are NaN, not noise."""
    window = np.full(21, 0.1) * 1.1
    assert moments.window_variance(window) == 0
    assert moments.window_mean(window) == window[0]
    assert math.isnan(moments.standardised_moment(window, 3))
    assert math.isnan(moments.correlation(window, np.arange(21.0)))
    # Returns that differ by rounding alone are constant too.
    growth = moments.window_simple_returns(1.01 ** np.arange(60.0))
    assert moments.window_variance(growth) == 0


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("rolling_std", {"length": 1}, "length is 1"),
        ("rolling_mean", {"length": 10**9}, "length is 1000000000"),
        ("rolling_quantile", {"share": 1.5}, "share is 1.5"),
        ("rolling_autocorrelation", {"length": 10, "lag": 9}, "lag is 9"),
        ("close_volatility", {"periods": 0.0}, "periods is 0.0"),
        ("riskmetrics_volatility", {"decay": float("nan")}, "decay is nan"),
        ("hurst_rescaled_range", {"length": 8}, "length is 8"),
    ],
)
def test_impossible_parameters_are_named(name: str, parameters: dict[str, Any], words: str) -> None:
    """A parameter that makes no sense is refused by its name and value."""
    with pytest.raises(InputError, match=words):
        catalogue.build_indicator(name, named=parameters)


FILES = ("rolling", "returns", "volatility", "hurst", "liquidity", "regime")


def test_windows_are_finite_or_nan_on_adversarial_bars() -> None:
    """No window gives an infinity on constant, leaping, huge or tiny prices without volume."""
    random = np.random.default_rng(8)
    count = 300
    walks = {
        "constant": np.full(count, 3.3),
        "leaping": np.where(np.arange(count) % 2 == 0, 1e12, 1e-9),
        "huge": 1e12 * np.exp(random.normal(0, 0.1, count)),
        "tiny": 1e-9 * np.exp(random.normal(0, 0.1, count)),
    }
    ours = [catalogue.find_indicator(name) for name in catalogue.indicator_names()]
    ours = [one for one in ours if one.factory.__module__.rsplit(".", 1)[-1] in FILES]
    assert len(ours) > 40
    for found in ours:
        operator = found.factory()
        assert isinstance(operator, Window | Pointwise)
        for kind, walk in walks.items():
            inputs = tuple((np.zeros(count) if "volume" in one else walk)[:, None] for one in found.inputs)
            for result in operator.batch(inputs, axes((count, 1))):
                assert not np.isinf(result).any(), (found.name, kind)
