"""Scale invariance: indicator outputs that are independent of the price's scale, or can be made so.

Invariance is measured, not declared: prices and volumes eight times as high and a later start show how each
output responds, on simulated bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from features import catalogue
from features.engine.graph import Column, Graph, inputs_of
from features.engine.operator import Axes, Matrix

BARS, SYMBOLS, LATER_START, SCALE_FACTOR = 480, 3, 120, 8.0
PRICE_AND_VOLUME = ("open", "high", "low", "close", "volume")
MAX_LOOKBACK = 260
# Calendars are equal for all symbols; sines and sums of prices are meaningless.
_LEFT_OUT = ("calendar", "math transform", "math operators", "pattern recognition", "order book")


@cache
def scale_free_formulas() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Return scale-free formulas by name, with the columns of bars that each needs.

    Indicators have default parameters. Outputs that neither prices nor volumes scale are used as they are,
    others are divided by the close or the mean volume. Excluded are outputs with another scale (a variance),
    those that depend on where history begins (a running sum), and those that need other columns or more than
    260 bars.
    """
    found = {}
    wanted = list(_outputs())
    columns = [column for _, column in wanted]
    plain = _computed(columns, _bars())
    answers = [_computed(columns, _bars(price=SCALE_FACTOR)), _computed(columns, _bars(volume=SCALE_FACTOR))]
    later = _computed(columns, _bars(first=LATER_START))
    close = _bars()["close"]
    for place, (text, column) in enumerate(wanted):
        values = plain[place]
        known = np.isfinite(values) & (np.abs(values) > 1e-9)
        if known.sum() < BARS // 4 or not _forgets(values, later[place]):
            continue
        by_price, by_volume = (_power(values, answer[place], known) for answer in answers)
        formula = _free(text, by_price, by_volume, float(np.median(np.abs(values[known] / close[known]))))
        if formula is not None:
            needed = set(inputs_of(column))
            needed |= {"close"} if "close" in formula else set()
            needed |= {"volume"} if "volume" in formula else set()
            found[text.replace(".", "_")] = (formula, tuple(sorted(needed)))
    return found


def _outputs() -> Iterator[tuple[str, Column]]:
    for name in catalogue.indicator_names():
        if catalogue.find_indicator(name).group in _LEFT_OUT:
            continue
        node = catalogue.build_indicator(name)
        if node.lookback <= MAX_LOOKBACK and set(node.inputs) <= set(PRICE_AND_VOLUME):
            outputs = node.operator.outputs
            for output in outputs:
                yield (name if len(outputs) == 1 else f"{name}.{output}"), node.output(output)


def _free(text: str, by_price: float | None, by_volume: float | None, of_close: float) -> str | None:
    """Return a scale-free formula; `of_close` is the usual size in closes, about 1 for price levels."""
    match by_price, by_volume:
        case 0, 0:
            return text
        case 1, 0:
            return f"close / {text} - 1" if 0.5 < of_close < 2 else f"{text} / close"
        case 0, 1:
            return f"{text} / sma(volume, 20)"
    return None


def _power(values: Matrix, answer: Matrix, known: np.ndarray) -> float | None:
    """Return the power of the factor by which an output responds, 0 or 1; None for anything else."""
    for power in (0, 1):
        if np.allclose(answer[known], values[known] * SCALE_FACTOR**power, rtol=1e-6, atol=0):
            return power
    return None


def _forgets(values: Matrix, later: Matrix) -> bool:
    """Return whether the last bars are the same when history begins later."""
    whole, part = values[-LATER_START:], later[-LATER_START:]
    size = float(np.nanmax(np.abs(whole), initial=0.0))
    known = np.isfinite(whole) & np.isfinite(part)
    return bool(known.any()) and float(np.abs(whole[known] - part[known]).max()) <= 0.01 * size


def _computed(columns: list[Column], bars: Mapping[str, Matrix]) -> list[Matrix]:
    length = len(bars["close"])
    # The last bar is the same, however late history begins.
    days = np.datetime64("2016-01-04", "ns") + np.arange(BARS - length, BARS) * np.timedelta64(86_400, "s")
    axes = Axes(days.astype("datetime64[ns]"), tuple(f"S{number}" for number in range(SYMBOLS)))
    graph = Graph(columns)
    found: list[Matrix] = [np.empty(0)] * len(columns)
    with np.errstate(all="ignore"):
        for place, matrix in graph.batch({name: bars[name] for name in graph.inputs}, axes):
            found[place] = np.array(matrix)
    return found


def _bars(price: float = 1.0, volume: float = 1.0, first: int = 0) -> dict[str, Matrix]:
    """Return simulated bars from row `first` on."""
    chance = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.02, (BARS, SYMBOLS)), axis=0))
    high = close * (1 + np.abs(chance.normal(0, 0.01, close.shape)))
    low = close * (1 - np.abs(chance.normal(0, 0.01, close.shape)))
    opened = np.clip(close * (1 + chance.normal(0, 0.005, close.shape)), low, high)
    prices = {"open": opened, "high": high, "low": low, "close": close}
    made = {name: values * price for name, values in prices.items()}
    made["volume"] = np.exp(chance.normal(10, 1, close.shape)) * volume
    return {name: np.asfortranarray(values[first:]) for name, values in made.items()}
