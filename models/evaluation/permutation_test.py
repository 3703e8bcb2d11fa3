"""Permutation test: is the IC larger than that of the same scores under other symbols?

Scores that change slowly rank the symbols alike for years. If those symbols happen to do well, every bar
shows it again, and a statistic that treats bars as independent evidence is misled. The test gives the scores
of one symbol to another, for all bars at once: the permuted scores have the same persistence, and no skill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix
from alphaloop.statistics.information_coefficient import MIN_SYMBOLS
from alphaloop.statistics.ranks import unit_ranks
from models.evaluation.horizon_tstat import BANDWIDTH_HORIZONS, horizon_scale

Single = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

MAX_MEMBERSHIP_DIFFERENCE = 0.1
"""Largest share of scored bars on which two symbols may differ and be exchanged."""
BLOCK_VALUES = 2**17
"""Ranks of all symbols that are multiplied at a time; they fit the processor's cache."""
BATCH_PERMUTATIONS = 64
"""Permutations whose statistics are computed at a time."""
STATISTIC_TOLERANCE = 1e-4
"""Relative difference below which statistics are equal: sums of the same terms in another order."""


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """The result of a permutation test.

    Parameters
    ----------
    pvalue : float
        Share of permutations at least as significant; NaN without bars or permutations.
    permutations : int
        Number of permutations drawn.
    arrangements : float
        Number of all possible orders of the symbols; no p-value below `1 / arrangements` is possible.
    """

    pvalue: float
    permutations: int
    arrangements: float


def permutation_test(
    scores: FloatMatrix, labels: FloatMatrix, horizon: int, *, permutations: int, seed: int
) -> PermutationTest:
    """Compare the t-statistic of the IC with those under permuted symbols.

    One permutation holds for all bars, and exchanges only symbols that are scored on the same bars. The same
    seed gives the same p-value.

    Parameters
    ----------
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores; NaN where a symbol has none.
    labels : ndarray of float64, shape [timestamps, symbols]
        Returns over `horizon` bars; NaN where they are not known.
    horizon : int
        Bars that a label spans.
    permutations : int
        Number of permutations; 0 computes no p-value.
    seed : int
        Seed of the permutations.

    Returns
    -------
    PermutationTest
        The p-value is the share of permutations, the true order included, whose statistic is at least the
        true one's.

    References
    ----------
    Phipson and Smyth 2010, "Permutation P-values Should Never Be Zero".

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> labels = random.normal(size=(60, 6))
    >>> skilled = permutation_test(labels, labels + random.normal(size=(60, 6)), 1, permutations=99, seed=0)
    >>> skilled.pvalue
    0.01
    """
    both = np.isfinite(scores) & np.isfinite(labels)
    ranks, outcomes = (unit_ranks(values, both) for values in (scores, labels))
    usable = (both.sum(axis=1) >= MIN_SYMBOLS) & ranks.any(axis=1) & outcomes.any(axis=1)
    groups = group_by_membership(np.isfinite(scores)[usable])
    arrangements = math.prod(math.factorial(min(len(group), 20)) for group in groups)
    if not permutations or usable.sum() <= BANDWIDTH_HORIZONS * horizon + 2:
        return PermutationTest(math.nan, permutations, float(arrangements))
    drawn = _draw(groups, scores.shape[1], permutations, seed)
    statistics = _statistics(ranks[usable], outcomes[usable], drawn, horizon)
    if not math.isfinite(statistics[0]):
        return PermutationTest(math.nan, permutations, float(arrangements))
    # A statistic that could not be computed counts as one that is as large.
    as_large = int(
        (~(statistics[1:] < statistics[0] - STATISTIC_TOLERANCE * max(abs(statistics[0]), 1.0))).sum()
    )
    return PermutationTest((1 + as_large) / (1 + permutations), permutations, float(arrangements))


def group_by_membership(present: npt.NDArray[np.bool_]) -> list[Indices]:
    """Group the symbols that are scored on the same bars, but for a tenth.

    `present` is `[timestamps, symbols]`. Each group holds the indices of its symbols.
    """
    groups: list[list[int]] = []
    for name in np.argsort(present.argmax(axis=0), kind="stable"):
        mine = present[:, name]
        for group in groups:
            other = present[:, group[0]]
            if (mine ^ other).sum() <= MAX_MEMBERSHIP_DIFFERENCE * (mine | other).sum():
                group.append(int(name))
                break
        else:
            groups.append([int(name)])
    return [np.array(group, dtype=np.intp) for group in groups]


def _draw(groups: list[Indices], names: int, permutations: int, seed: int) -> Indices:
    """Return the true order and `permutations` others, `[1 + permutations, symbols]`."""
    random = np.random.default_rng(seed)
    drawn = np.tile(np.arange(names), (1 + permutations, 1))
    for group in groups:
        for row in drawn[1:]:
            row[group] = random.permutation(group)
    return drawn


def _statistics(ranks: FloatMatrix, outcomes: FloatMatrix, drawn: Indices, horizon: int) -> FloatMatrix:
    """Compute the t-statistic of the IC, as `horizon_tstat`, under each order of `drawn`."""
    rank_columns, outcome_columns = (
        np.ascontiguousarray(one.T, dtype=np.float32) for one in (ranks, outcomes)
    )
    batches = [_tstats(batch, horizon) for batch in _coefficients(rank_columns, outcome_columns, drawn)]
    return np.concatenate(batches) * horizon_scale(len(ranks), horizon)


def _coefficients(ranks: Single, outcomes: Single, drawn: Indices) -> Iterator[Single]:
    """Yield ICs `[permutations, timestamps]` in batches; the inputs are `[symbols, timestamps]`."""
    names, bars = ranks.shape
    step = max(BLOCK_VALUES // max(names, 1), 64)
    for first in range(0, len(drawn), BATCH_PERMUTATIONS):
        orders = drawn[first : first + BATCH_PERMUTATIONS]
        batch = np.empty((len(orders), bars), dtype=np.float32)
        for start in range(0, bars, step):
            part = slice(start, start + step)
            rank_block, outcome_block = (
                np.ascontiguousarray(ranks[:, part]),
                np.ascontiguousarray(outcomes[:, part]),
            )
            for row, order in enumerate(orders):
                np.einsum("nt,nt->t", rank_block[order], outcome_block, out=batch[row, part])
        yield batch


def _tstats(coefficients: Single, horizon: int) -> FloatMatrix:
    """Compute Newey-West t-statistics of `[permutations, timestamps]` with a bandwidth of three horizons.

    Bartlett's weights are the overlaps of windows: the weighted sum of autocovariances is the mean square of
    the sums of all windows of `lags + 1` bars, including those that reach beyond the ends.
    """
    values = coefficients.astype(np.float64)
    bars, width = values.shape[1], BANDWIDTH_HORIZONS * horizon + 1
    mean = values.mean(axis=1, keepdims=True)
    padded = np.zeros((len(values), bars + 2 * width - 1))
    padded[:, width : width + bars] = values - mean
    summed = padded.cumsum(axis=1)
    windows = summed[:, width:] - summed[:, :-width]
    variance = (windows**2).sum(axis=1) / width
    tstats = np.full(len(values), np.nan)
    np.divide(mean[:, 0] * bars, np.sqrt(variance), out=tstats, where=variance > 0)
    return tstats
