"""Size and power of the promotion gate: how often it says yes to chance, and to skill.

    python benchmarks/gate_size.py [draws of skilless scores; a quarter of them for each of skill]

Skilless scores are drawn for the 20 stocks of `sp500-20` and for simulated returns with a market factor;
skill is planted in simulated returns by a persistent signal. The same seeds give the same table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, FloatMatrix, Timestamps
from alphaloop.clock import monotonic
from alphaloop.settings.settings import Settings
from alphaloop.statistics.information_coefficient import information_coefficients
from alphaloop.statistics.purged_folds import Fold, purged_training_bars
from marketdata.sources.registry import find_source
from models.evaluation.gate import GatePolicy, gate_findings, judge
from models.evaluation.horizon_tstat import horizon_tstat
from models.evaluation.look_ahead import LookAheadResult
from models.evaluation.permutation_test import permutation_test
from models.evaluation.walk_forward import Evaluation, EvaluationPolicy, evaluate_scores
from models.labels import forward_returns

DRAWS, SEED = 200, 20180102
NAMES, BARS, FIRST = 20, 2_512, 252
PERSISTENCE = 0.98
"""Correlation of a planted signal with itself a bar before: half of it is gone after seven weeks."""
POLICY, DEMANDS = (
    replace(EvaluationPolicy.from_settings(Settings(), AllocationStrategy()), seed=SEED),
    GatePolicy(),
)
FAITHFUL: Any = SimpleNamespace(reasons=())
PROVEN = LookAheadResult((), 1, ("every day",))
"""The look-ahead check of scores that are drawn: nothing in them changes."""

Random = np.random.Generator
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """Scores and prices `[timestamps, symbols]`, and from which bar on they are judged."""

    scores: FloatMatrix
    close: FloatMatrix
    timestamps: Timestamps
    start: int

    def evaluate(self) -> Evaluation:
        """The evaluation, as a training makes it."""
        frame: Any = SimpleNamespace(
            timestamps=self.timestamps, symbols=tuple(f"S{place:02d}" for place in range(len(self.scores[0])))
        )
        fold = Fold(purged_training_bars(self.start, POLICY.horizon), range(self.start, len(self.timestamps)))
        return evaluate_scores(
            self.scores, self.close, frame, [fold], replace(POLICY, permutations=0), trials=0
        )


@dataclass(frozen=True)
class Outcome:
    """One draw: the statistics of its IC, and the verdicts of the gate without and with a proof."""

    tstat: float
    pvalue: float
    passed: bool
    held: bool
    ratio: float


def judged(draw: Draw) -> Outcome:
    """Judge a draw; only one whose IC is significant is evaluated whole, as no other can pass."""
    tested = slice(draw.start, None)
    scores, labels = draw.scores[tested], forward_returns(draw.close, POLICY.horizon)[tested]
    tstat = horizon_tstat(information_coefficients(scores, labels), POLICY.horizon)
    found = permutation_test(
        scores, labels, POLICY.horizon, permutations=POLICY.permutations, seed=POLICY.seed
    )
    if not (tstat >= DEMANDS.min_ic_tstat and found.pvalue <= DEMANDS.max_pvalue):
        return Outcome(tstat, found.pvalue, passed=False, held=False, ratio=np.nan)
    whole = replace(draw.evaluate(), ic_pvalue=found.pvalue, arrangements=found.arrangements)
    verdict = judge(whole, FAITHFUL, None, DEMANDS, proof=PROVEN)
    return Outcome(
        tstat, found.pvalue, verdict.passed, bool(gate_findings(whole, DEMANDS)), whole.active_ir_net
    )


def stocks() -> tuple[FloatMatrix, Timestamps, int]:
    """Adjusted closes of the 20 stocks up to 2018, their timestamps, and the first bar of 2010."""
    source = find_source("sp500-20")
    bars = BarPanel.from_table(source.history((), None, datetime(2018, 12, 31, 23, tzinfo=UTC)))
    start = int(np.searchsorted(bars.timestamps, np.datetime64("2010-01-01")))
    return bars.adjusted_close, bars.timestamps, start


def drifting(random: Random, shape: tuple[int, int], persistence: float) -> FloatMatrix:
    """Scores that forget `1 - persistence` of themselves each bar, with a variance of one."""
    values = random.normal(size=shape)
    for bar in range(1, shape[0]):
        values[bar] = persistence * values[bar - 1] + np.sqrt(1 - persistence**2) * values[bar]
    return values


def on_stocks(kind: Callable[[Random, tuple[int, int]], FloatMatrix]) -> Callable[[int], Iterator[Draw]]:
    """Draws of scores of one kind on the real stocks."""

    def draws(count: int) -> Iterator[Draw]:
        close, timestamps, start = stocks()
        for number in range(count):
            random = np.random.default_rng([SEED, number])
            yield Draw(kind(random, close.shape), close, timestamps, start)

    return draws


def simulated(random: Random, betas: Vector, expected: FloatMatrix) -> FloatMatrix:
    """Closes of names with a market factor of 1 % a day and 1.5 % of their own, both with fat tails."""
    scale = np.sqrt(3.0)  # of Student's t with three degrees of freedom
    market = random.standard_t(3, size=(len(expected), 1)) * 0.01 / scale
    own = random.standard_t(3, size=expected.shape) * 0.015 / scale
    closes = np.cumprod(1 + np.clip(market * betas + own + expected, -0.5, 0.5), axis=0)
    return np.asarray(100 * closes)


def days(count: int) -> Timestamps:
    """Closes of so many weekdays."""
    first = np.datetime64("2010-01-04")
    return np.busday_offset(first, np.arange(count)).astype("datetime64[ns]") + np.timedelta64(21, "h")


def ranked_by_beta(count: int) -> Iterator[Draw]:
    """A market factor, no alpha, and names ranked by their betas."""
    for number in range(count):
        random = np.random.default_rng([SEED, 1, number])
        betas = random.uniform(0.4, 1.6, NAMES)
        close = simulated(random, betas, np.zeros((BARS, NAMES)))
        yield Draw(np.broadcast_to(betas, (BARS, NAMES)).copy(), close, days(BARS), FIRST)


def planted(strength: float) -> Callable[[int], Iterator[Draw]]:
    """A persistent signal that adds `strength` basis points a day to the return for each deviation of it."""

    def draws(count: int) -> Iterator[Draw]:
        for number in range(count):
            random = np.random.default_rng([SEED, 2, number])
            signal = drifting(random, (BARS, NAMES), PERSISTENCE)
            expected = np.zeros((BARS, NAMES))
            expected[2:] = strength * 1e-4 * signal[:-2]
            close = simulated(random, random.uniform(0.4, 1.6, NAMES), expected)
            yield Draw(signal, close, days(BARS), FIRST)

    return draws


SIZE = {
    "random constant rankings, sp500-20": on_stocks(
        lambda random, shape: np.broadcast_to(random.normal(size=shape[1]), shape).copy()
    ),
    "random slow scores, sp500-20": on_stocks(lambda random, shape: drifting(random, shape, 0.995)),
    "white noise, sp500-20": on_stocks(lambda random, shape: random.normal(size=shape)),
    "rankings by beta, market factor, no alpha": ranked_by_beta,
}
POWER = {f"planted alpha of {strength:g} bps": planted(strength) for strength in (0.5, 1, 2, 3, 4)}


def told(name: str, outcomes: list[Outcome]) -> str:
    """One row of the table."""
    tstats = np.array([one.tstat for one in outcomes])

    def share(flags: list[bool]) -> str:
        return f"{np.mean(flags):7.1%}"

    ratios = [one.ratio for one in outcomes if np.isfinite(one.ratio)]
    ratio = f"{np.median(ratios):6.2f}" if len(ratios) > len(outcomes) / 2 else "     –"
    return (
        f"{name:43}{len(outcomes):5}  {tstats.std():6.2f}"
        f"{share([one.tstat >= DEMANDS.min_ic_tstat for one in outcomes]):>9}"
        f"{share([one.pvalue <= DEMANDS.max_pvalue for one in outcomes]):>9}"
        f"{share([one.passed for one in outcomes]):>9}"
        f"{share([one.held for one in outcomes]):>9}{ratio:>9}"
    )


def main() -> None:
    """Print the table, and what a permutation test costs."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    print(
        f"horizon {POLICY.horizon}, {POLICY.permutations:,} permutations, seed {SEED}; the gate asks for "
        f"t >= {DEMANDS.min_ic_tstat} and p <= {DEMANDS.max_pvalue:.0%}\n"
        f"{'scores':43}draws  sd of t  t >= 2.33   p <= 1 %   pass  finding   IR"
    )
    for table, many in ((SIZE, count), (POWER, max(count // 4, 2))):
        for name, draws in table.items():
            print(told(name, [judged(draw) for draw in draws(many)]), flush=True)
    print("\npass: with a proof that nothing looks ahead; finding: a proof or an override is asked for;")
    print("IR: median over equal weight, net of costs, of the draws with t and p")
    for names in (20, 450):
        random = np.random.default_rng(SEED)
        scores, labels = random.normal(size=(2, 3_000, names))
        began = monotonic()
        permutation_test(scores, labels, POLICY.horizon, permutations=1_000, seed=SEED)
        print(f"1,000 permutations of {names} names over 3,000 bars: {monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
