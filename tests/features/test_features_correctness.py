"""Indicators of the catalogue against two implementations of other authors, on real bars.

`pandas_ta_classic` is made to compute for itself (`talib=False`), so that it is not TA-Lib checking TA-Lib.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas_ta_classic as pta
import pytest
from ta import momentum, trend, volatility, volume

from features.catalogue import find_indicator
from features.engine.operator import Axes

COLUMNS = ("open", "high", "low", "close", "volume")
SAME = "the same definition from the first value on"
SEED = (
    "an exponential average that begins otherwise (TA-Lib: with the plain average of its first values); "
    "the weight of the beginning has decayed below 1e-9 by then"
)


class Bars:
    """Columns of one symbol's bars, as pandas wants them."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.o, self.h, self.l, self.c, self.v = (frame[name] for name in COLUMNS)


@dataclass(frozen=True)
class Case:
    """One comparison: `indicator(**parameters)[output]` against `theirs`, from bar `after` on.

    `tolerance` bounds the largest difference, in units of the largest of their values.
    """

    indicator: str
    theirs: Callable[[Bars], Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    output: int = 0
    after: int = 0
    tolerance: float = 1e-9
    why: str = SAME
    by: str = "pta"


def _column(place: int, function: Callable[..., pd.DataFrame]) -> Callable[..., pd.Series]:
    return lambda *series, **parameters: function(*series, **parameters).iloc[:, place]


def _turning(lines: pd.DataFrame) -> pd.Series:
    """The Gann line where only one of its sides is set."""
    return lines.iloc[:, 0].where(lines.iloc[:, 1].isna() != lines.iloc[:, 2].isna())


def _side(lines: pd.DataFrame) -> pd.Series:
    """1 where only the long side is set, -1 where only the short side is."""
    return _turning(lines).notna().where(lambda known: known) * (2.0 * lines.iloc[:, 1].notna() - 1.0)


def _weighted(b: Bars, length: int) -> pd.Series:
    return pta.ema(b.c * b.v, length, talib=False) / pta.ema(b.v, length, talib=False)


CASES = [
    # Averages.
    Case("sma", lambda b: pta.sma(b.c, 20, talib=False), {"timeperiod": 20}),
    Case("ema", lambda b: pta.ema(b.c, 20, talib=False), {"timeperiod": 20}),
    Case(
        "ema",
        lambda b: trend.EMAIndicator(b.c, 20).ema_indicator(),
        {"timeperiod": 20},
        0,
        200,
        why=SEED,
        by="ta",
    ),
    Case("wma", lambda b: pta.wma(b.c, 20, talib=False), {"timeperiod": 20}),
    Case("wma", lambda b: trend.WMAIndicator(b.c, 20).wma(), {"timeperiod": 20}, by="ta"),
    Case("dema", lambda b: pta.dema(b.c, 20, talib=False), {"timeperiod": 20}),
    Case("tema", lambda b: pta.tema(b.c, 20, talib=False), {"timeperiod": 20}),
    Case("trima", lambda b: pta.trima(b.c, 21, talib=False), {"timeperiod": 21}),
    Case("t3", lambda b: pta.t3(b.c, 5, 0.7, talib=False), {"timeperiod": 5, "vfactor": 0.7}),
    Case("hma", lambda b: pta.hma(b.c, 16, talib=False), {"timeperiod": 16}),
    Case(
        "kama",
        lambda b: momentum.KAMAIndicator(b.c, 10, 2, 30).kama(),
        {"timeperiod": 10},
        by="ta",
    ),
    Case("vwma", lambda b: pta.vwma(b.c, b.v, 20), {"timeperiod": 20}),
    Case("midpoint", lambda b: pta.midpoint(b.c, 14, talib=False), {"timeperiod": 14}),
    Case("midprice", lambda b: pta.midprice(b.h, b.l, 14, talib=False), {"timeperiod": 14}),
    Case("linearreg", lambda b: pta.linreg(b.c, 14, talib=False), {"timeperiod": 14}),
    Case(
        "alma",
        lambda b: pta.alma(b.c, 9, 6.0, 0.15),
        {"length": 9},
        why="theirs turns the weights around: its offset counts from the last bar",
    ),
    Case("fibonacci_average", lambda b: pta.fwma(b.c, 10)),
    Case("pascal_average", lambda b: pta.pwma(b.c, 10)),
    Case("sine_average", lambda b: pta.sinwma(b.c, 14)),
    Case("symmetric_average", lambda b: pta.swma(b.c, 10)),
    Case("vidya", lambda b: pta.vidya(b.c, 14), after=600, why=SEED),
    Case(
        "super_smoother",
        lambda b: pta.ssf((b.c + b.c.shift(1).fillna(b.c.iloc[0])) / 2, 10),
        after=200,
        why="the book filters the mean of two closes, theirs one close; given that mean, the same",
    ),
    # Bands and levels.
    Case(
        "bbands",
        lambda b: volatility.BollingerBands(b.c, 20, 2).bollinger_hband(),
        {"timeperiod": 20},
        by="ta",
    ),
    Case("bollinger_position", lambda b: volatility.BollingerBands(b.c, 20, 2).bollinger_pband(), by="ta"),
    Case(
        "bollinger_position",
        lambda b: volatility.BollingerBands(b.c, 20, 2).bollinger_wband() / 100,
        output=1,
        why="theirs is in percent",
        by="ta",
    ),
    Case("donchian", lambda b: _column(2, pta.donchian)(b.h, b.l, 20, 20), {"timeperiod": 20}),
    Case("chandelier", lambda b: _column(0, pta.ce)(b.h, b.l, b.c, 22, 3.0)),
    Case("chandelier", lambda b: _column(1, pta.ce)(b.h, b.l, b.c, 22, 3.0), output=1),
    Case("chande_kroll_stop", lambda b: _column(0, pta.cksp)(b.h, b.l, b.c, 10, 1, 9)),
    Case(
        "gann_high_low",
        lambda b: _turning(pta.hilo(b.h, b.l, b.c, 13, 21)),
        why="between the averages theirs keeps the old line, ours the side; compared at crossings",
    ),
    Case(
        "ichimoku",
        lambda b: trend.IchimokuIndicator(b.h, b.l, 9, 26, 52).ichimoku_conversion_line(),
        by="ta",
    ),
    Case(
        "ichimoku",
        lambda b: trend.IchimokuIndicator(b.h, b.l, 9, 26, 52).ichimoku_base_line(),
        output=1,
        by="ta",
    ),
    Case(
        "ichimoku",
        lambda b: trend.IchimokuIndicator(b.h, b.l, 9, 26, 52).ichimoku_a().shift(26),
        output=2,
        by="ta",
        why="theirs is the span as computed; drawn 26 bars ahead it is ours",
    ),
    Case(
        "ichimoku",
        lambda b: pta.ichimoku(b.h, b.l, b.c)[0].iloc[:, 1],
        output=3,
        why="drawn 26 bars ahead, as ours",
    ),
    # Momentum.
    Case("rsi", lambda b: pta.rsi(b.c, 14, talib=False), {"timeperiod": 14}),
    Case(
        "rsi", lambda b: momentum.RSIIndicator(b.c, 14).rsi(), {"timeperiod": 14}, 0, 300, why=SEED, by="ta"
    ),
    Case("macd", lambda b: trend.MACD(b.c, 26, 12, 9).macd_signal(), {}, 1, 300, why=SEED, by="ta"),
    Case("adx", lambda b: trend.ADXIndicator(b.h, b.l, b.c, 14).adx(), {}, 0, 300, why=SEED, by="ta"),
    Case("cci", lambda b: trend.CCIIndicator(b.h, b.l, b.c, 20, 0.015).cci(), {"timeperiod": 20}, by="ta"),
    Case("mom", lambda b: pta.mom(b.c, 10, talib=False), {"timeperiod": 10}),
    Case("roc", lambda b: momentum.ROCIndicator(b.c, 10).roc(), {"timeperiod": 10}, by="ta"),
    Case(
        "willr",
        lambda b: momentum.WilliamsRIndicator(b.h, b.l, b.c, 14).williams_r(),
        {"timeperiod": 14},
        by="ta",
    ),
    Case(
        "stochf",
        lambda b: momentum.StochasticOscillator(b.h, b.l, b.c, 14, 3).stoch(),
        {"fastk_period": 14, "fastd_period": 3},
        by="ta",
    ),
    Case(
        "ultosc",
        lambda b: momentum.UltimateOscillator(b.h, b.l, b.c, 7, 14, 28).ultimate_oscillator(),
        by="ta",
    ),
    Case("ao", lambda b: momentum.AwesomeOscillatorIndicator(b.h, b.l, 5, 34).awesome_oscillator(), by="ta"),
    Case("tsi", lambda b: momentum.TSIIndicator(b.c, 25, 13).tsi(), {}, 0, 300, why=SEED, by="ta"),
    Case(
        "trix", lambda b: trend.TRIXIndicator(b.c, 15).trix(), {"timeperiod": 15}, 0, 200, why=SEED, by="ta"
    ),
    Case("aroonosc", lambda b: _column(2, pta.aroon)(b.h, b.l, 25, talib=False), {"timeperiod": 25}),
    Case(
        "vortex",
        lambda b: trend.VortexIndicator(b.h, b.l, b.c, 14).vortex_indicator_pos(),
        {"timeperiod": 14},
        by="ta",
    ),
    Case("coppock", lambda b: pta.coppock(b.c, 10, 11, 14)),
    Case("know_sure_thing", lambda b: trend.KSTIndicator(b.c).kst(), by="ta"),
    Case("know_sure_thing", lambda b: trend.KSTIndicator(b.c).kst_sig(), output=1, by="ta"),
    Case(
        "schaff_trend_cycle",
        lambda b: trend.STCIndicator(b.c, 50, 23, 10, 3, 3).stc(),
        after=600,
        why=SEED + "; their second smoothing is the same recursion with weight 1/2",
        by="ta",
    ),
    Case("fisher_transform", lambda b: _column(0, pta.fisher)(b.h, b.l, 9), after=100, why=SEED),
    Case("relative_vigor", lambda b: _column(1, pta.rvgi)(b.o, b.h, b.l, b.c, 10), {"length": 10}),
    Case("relative_vigor", lambda b: _column(2, pta.rvgi)(b.o, b.h, b.l, b.c, 10), {"length": 10}, 1),
    Case("laguerre_rsi", lambda b: pta.lrsi(b.c, 14, 0.5) / 100, why="theirs is in percent"),
    Case("bias", lambda b: pta.bias(b.c, 26)),
    Case("brar", lambda b: _column(0, pta.brar)(b.o, b.h, b.l, b.c, 26)),
    Case("brar", lambda b: _column(1, pta.brar)(b.o, b.h, b.l, b.c, 26), output=1),
    Case("center_of_gravity", lambda b: pta.cg(b.c, 10)),
    Case("correlation_trend", lambda b: pta.cti(b.c, 12)),
    Case("psychological_line", lambda b: pta.psl(b.c, length=12)),
    Case("qqe", lambda b: _column(1, pta.qqe)(b.c, 14, 5, 4.236)),
    Case(
        "td_sequential",
        lambda b: _column(0, pta.td_seq)(b.c).fillna(0.0).where(lambda n: n < 13),
        output=1,
        why="theirs stops counting at 13",
    ),
    Case(
        "ttm_trend",
        lambda b: _column(0, pta.ttm_trend)(b.h, b.l, b.c, 6).where(b.c * 12 != (b.h + b.l).rolling(6).sum()),
        why="a close at the average is 0 to us and -1 to them; compared elsewhere",
    ),
    # Volatility.
    Case(
        "atr",
        lambda b: volatility.AverageTrueRange(b.h, b.l, b.c, 14).average_true_range(),
        {},
        0,
        300,
        why=SEED,
        by="ta",
    ),
    Case(
        "natr",
        lambda b: pta.natr(b.h, b.l, b.c, 14, mamode="rma", talib=False),
        {"timeperiod": 14},
    ),
    Case("massi", lambda b: trend.MassIndex(b.h, b.l, 9, 25).mass_index(), {}, 0, 200, why=SEED, by="ta"),
    Case("choppiness", lambda b: pta.chop(b.h, b.l, b.c, 14), {"length": 14}),
    Case("ulcer_index", lambda b: pta.ui(b.c, 14)),
    Case("squeeze", lambda b: _column(0, pta.squeeze)(b.h, b.l, b.c, lazybear=True, mamode="sma")),
    Case("squeeze", lambda b: _column(1, pta.squeeze)(b.h, b.l, b.c, lazybear=True, mamode="sma"), output=1),
    # Volume.
    Case("obv", lambda b: pta.obv(b.c, b.v, talib=False)),
    Case("ad", lambda b: volume.AccDistIndexIndicator(b.h, b.l, b.c, b.v).acc_dist_index(), by="ta"),
    Case(
        "mfi",
        lambda b: volume.MFIIndicator(b.h, b.l, b.c, b.v, 14).money_flow_index(),
        {"timeperiod": 14},
        by="ta",
    ),
    Case(
        "cmf",
        lambda b: volume.ChaikinMoneyFlowIndicator(b.h, b.l, b.c, b.v, 20).chaikin_money_flow(),
        {"timeperiod": 20},
        by="ta",
    ),
    Case(
        "efi", lambda b: volume.ForceIndexIndicator(b.c, b.v, 13).force_index(), {}, 0, 200, why=SEED, by="ta"
    ),
    Case(
        "ease_of_movement",
        lambda b: volume.EaseOfMovementIndicator(b.h, b.l, b.v, 14).sma_ease_of_movement(),
        by="ta",
    ),
    Case("ease_of_movement", lambda b: pta.eom(b.h, b.l, b.c, b.v, 14)),
    Case(
        "rolling_vwap",
        lambda b: volume.VolumeWeightedAveragePrice(b.h, b.l, b.c, b.v, 20).volume_weighted_average_price(),
        by="ta",
    ),
    Case("klinger_oscillator", lambda b: _column(0, pta.kvo)(b.h, b.l, b.c, b.v), after=600, why=SEED),
    Case(
        "klinger_oscillator",
        lambda b: _column(1, pta.kvo)(b.h, b.l, b.c, b.v),
        output=1,
        after=600,
        why=SEED,
    ),
    Case(
        "volume_weighted_macd",
        lambda b: _weighted(b, 12) - _weighted(b, 26),
        why="put together from their exponential averages: their own is of plain averages",
    ),
    # More of TA-Lib's, beyond the classics.
    *(
        Case("ha", lambda b, place=place: _column(place, pta.ha)(b.o, b.h, b.l, b.c), output=place)
        for place in range(4)
    ),
    Case("supertrend", lambda b: _column(1, pta.supertrend)(b.h, b.l, b.c, 10, 3.0), output=1),
    Case(
        "kc",
        lambda b: pta.ema((b.h + b.l + b.c) / 3, 20, talib=False),
        output=1,
        why="the middle is the exponential average of the typical price, not of the close as in both others",
    ),
    Case("zlema", lambda b: pta.zlma(b.c, 30)),
    Case("eri", lambda b: _column(0, pta.eri)(b.h, b.l, b.c, 13)),
    Case("eri", lambda b: _column(1, pta.eri)(b.h, b.l, b.c, 13), output=1),
    Case("er", lambda b: pta.er(b.c, 10)),
    Case("qstick", lambda b: pta.qstick(b.o, b.c, 10)),
    Case("vhf", lambda b: pta.vhf(b.c, 28)),
    Case("dpo", lambda b: trend.DPOIndicator(b.c, 20).dpo(), by="ta"),
    Case("kdj", lambda b: _column(0, pta.kdj)(b.h, b.l, b.c, 9, 3)),
    Case("cmou", lambda b: pta.cmo(b.c, 14, talib=False)),
    Case("bop", lambda b: pta.bop(b.o, b.h, b.l, b.c, talib=False)),
    Case("accbands", lambda b: _column(2, pta.accbands)(b.h, b.l, b.c, 20, talib=False)),
    Case("cvi", lambda b: pta.cvi(b.h, b.l)),
    Case("adr", lambda b: pta.sma(b.h - b.l, 14, talib=False)),
    Case("wad", lambda b: pta.wad(b.h, b.l, b.c)),
    Case("marketfi", lambda b: pta.marketfi(b.h, b.l, b.v)),
    Case("adosc", lambda b: pta.adosc(b.h, b.l, b.c, b.v, talib=False)),
    Case("nvi", lambda b: volume.NegativeVolumeIndexIndicator(b.c, b.v).negative_volume_index(), by="ta"),
    Case("pvt", lambda b: volume.VolumePriceTrendIndicator(b.c, b.v).volume_price_trend(), by="ta"),
    Case("pvo", lambda b: momentum.PercentageVolumeOscillator(b.v).pvo(), after=300, why=SEED, by="ta"),
    Case(
        "ppo",
        lambda b: momentum.PercentagePriceOscillator(b.c).ppo(),
        {"matype": 1},
        after=300,
        why=SEED,
        by="ta",
    ),
    # The other outputs of what stands above.
    Case("chande_kroll_stop", lambda b: _column(1, pta.cksp)(b.h, b.l, b.c, 10, 1, 9), output=1),
    Case("aberration", lambda b: _column(1, pta.aberration)(b.h, b.l, b.c, 5, 15), output=0),
    Case("aberration", lambda b: _column(0, pta.aberration)(b.h, b.l, b.c, 5, 15), output=1),
    Case("aberration", lambda b: _column(2, pta.aberration)(b.h, b.l, b.c, 5, 15), output=2),
    Case(
        "td_sequential",
        lambda b: _column(1, pta.td_seq)(b.c).fillna(0.0).where(lambda n: n < 13),
        why="theirs stops counting at 13",
    ),
    Case("squeeze", lambda b: _column(2, pta.squeeze)(b.h, b.l, b.c, lazybear=True, mamode="sma"), output=2),
    Case(
        "volume_weighted_macd",
        lambda b: pta.ema((_weighted(b, 12) - _weighted(b, 26)).dropna(), 9, talib=False).reindex(b.c.index),
        output=1,
        why="put together from their exponential averages: their own is of plain averages",
    ),
    Case(
        "qqe",
        lambda b: _column(0, pta.qqe)(b.c, 14, 5, 4.236),
        output=1,
        after=77,
        why="theirs begins on the rising side whatever the RSI; both agree from the first turn on",
    ),
    Case(
        "qqe",
        lambda b: _column(6, pta.qqe)(b.c, 14, 5, 4.236),
        output=2,
        after=77,
        why="theirs begins on the rising side whatever the RSI; both agree from the first turn on",
    ),
    Case(
        "gann_high_low",
        lambda b: _side(pta.hilo(b.h, b.l, b.c, 13, 21)),
        output=1,
        why="theirs names a side only at crossings; compared there",
    ),
    Case("holt_winters_average", lambda b: pta.hwma(b.c, 0.2, 0.1, 0.1)),
    Case(
        "rsx",
        lambda b: pta.rsx(b.c, 14),
        after=200,
        why="theirs begins at bar 14, ours at the first; both forget",
    ),
]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Apple's 3,270 daily bars from 2000 to 2013, adjusted for splits and dividends."""
    spec = importlib.util.find_spec("bokeh_sampledata")
    assert spec is not None and spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "_data" / "stocks.csv.gz", "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["Ticker"] == "AAPL"]
    frame = pd.DataFrame(
        {name: [float(row[name.capitalize()]) for row in rows] for name in COLUMNS},
        index=pd.DatetimeIndex([row["Date"] for row in rows]),
    )
    factor = np.array([float(row["Adj Close"]) for row in rows]) / frame["close"]
    for name in COLUMNS:
        # In parts of 1/1024: sums of such prices are exact, and a tie is a tie for everybody.
        prices = (frame[name] * factor * 1024).round() / 1024
        frame[name] = frame[name] / factor if name == "volume" else prices
    return frame


def _ours(case: Case, frame: pd.DataFrame) -> np.ndarray:
    indicator = find_indicator(case.indicator)
    inputs = tuple(frame[name].to_numpy()[:, None] for name in indicator.inputs)
    axes = Axes(frame.index.to_numpy().astype("datetime64[ns]"), ("AAPL",))
    outputs = indicator.factory(**indicator.bind(named=case.parameters)).batch(inputs, axes)
    return outputs[case.output][:, 0]


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one.indicator}-{one.output}-{one.by}")
def test_an_independent_implementation_agrees(case: Case, frame: pd.DataFrame) -> None:
    """Our values are another author's, once a difference of convention is put in words and accounted for."""
    ours, theirs = _ours(case, frame), np.asarray(case.theirs(Bars(frame)), dtype=np.float64)
    both = np.isfinite(ours) & np.isfinite(theirs)
    both[: case.after] = False
    assert both.sum() > 1000, "too few values to compare"
    assert np.isfinite(ours[both.argmax() :]).mean() > 0.95
    difference = np.abs(ours - theirs)[both].max() / np.abs(theirs[both]).max()
    assert difference <= case.tolerance, f"{case.indicator}: {difference:.3g}; {case.why}"


def test_at_least_forty_indicators_are_compared() -> None:
    """The table covers TA-Lib's indicators and ours, and both other implementations."""
    ours = {case.indicator for case in CASES if find_indicator(case.indicator).reference != "TA-Lib"}
    assert len({case.indicator for case in CASES}) >= 40
    assert len(ours) >= 20
    assert {case.by for case in CASES} == {"pta", "ta"}
    assert all(case.why != SAME or (case.after == 0 and case.tolerance <= 1e-9) for case in CASES)
