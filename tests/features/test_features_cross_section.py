"""Functions of a universe at one bar: as their definitions, in any order, alone and within groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloop.statistics.ranks import centred_rank
from features.engine.cross_section import (
    Matrix,
    apply_within_groups,
    demean,
    share_positive,
    universe_median,
    zscore,
)

FUNCTIONS = [centred_rank, demean, share_positive, universe_median, zscore]
VALUES = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(
        st.floats(-1e12, 1e12, allow_subnormal=False), st.sampled_from([np.nan, 0.0, -0.0, 1e-9, 5.0])
    ),
)


def _of_each_group(function, values: Matrix, groups: Matrix) -> Matrix:
    """The function over the columns of one group at one bar, put together one by one."""
    result = np.full_like(values, np.nan)
    for row in range(len(values)):
        for code in set(groups[row][np.isfinite(groups[row])]):
            columns = np.flatnonzero((groups[row] == code) & np.isfinite(values[row]))
            if len(columns):
                result[row, columns] = function(values[row : row + 1, columns])[0]
    return result


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_zscore_and_demean_are_their_definitions(values: Matrix) -> None:
    """Less the mean, over the population's deviation; 0 where all are the same; NaN where there is none."""
    for row, centred, scored in zip(values, demean(values), zscore(values), strict=True):
        here = np.isfinite(row)
        assert (np.isfinite(centred) == here).all()
        assert (np.isfinite(scored) == here).all()
        if not here.any():
            continue
        known = row[here]
        scale = np.abs(known).max()
        assert np.allclose(centred[here], known - known.mean(), rtol=1e-12, atol=1e-12 * scale)
        if len(set(known)) == 1:
            assert (scored[here] == 0).all()
            continue
        # In units of the largest: numpy's own squares would vanish where values are tiny.
        known = known / scale
        if known.std() > 1e-9:
            assert np.allclose(scored[here], (known - known.mean()) / known.std(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=40, deadline=None)
@given(values=VALUES, seed=st.integers(0, 99))
def test_the_order_of_symbols_and_of_bars_changes_no_bit(function, values: Matrix, seed: int) -> None:
    """Symbols in another order, a bar alone, or in another memory layout: the same bits."""
    whole = function(values)
    order = np.random.default_rng(seed).permutation(values.shape[1])
    assert np.array_equal(function(values[:, order]), whole[:, order], equal_nan=True)
    assert np.array_equal(function(np.asfortranarray(values)), whole, equal_nan=True)
    for row in range(len(values)):
        assert np.array_equal(function(values[row : row + 1])[0], whole[row], equal_nan=True)


@pytest.mark.parametrize("function", FUNCTIONS)
@settings(max_examples=40, deadline=None)
@given(values=VALUES, seed=st.integers(0, 99))
def test_within_groups_each_group_is_a_universe(function, values: Matrix, seed: int) -> None:
    """A function within groups is that function over each group's symbols alone, NaN without a group."""
    codes = np.random.default_rng(seed).choice([1.0, 7.5, -3.0, np.nan], values.shape)
    expected = _of_each_group(function, values, codes)
    assert np.array_equal(apply_within_groups(function, values, codes), expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (2, 3)])
def test_nothing_in_gives_nothing_out(shape: tuple[int, int]) -> None:
    """No symbols, no bars or no values at all: the same shape without a value."""
    values: npt.NDArray[np.float64] = np.full(shape, np.nan)
    for function in (demean, zscore):
        assert np.isnan(function(values)).all()
        assert np.isnan(apply_within_groups(function, values, np.ones(shape))).all()
        assert function(values).shape == shape


def test_many_groups_take_no_longer_than_symbols() -> None:
    """A group for every value, at every bar another: each stands alone, and it is done at once."""
    values = np.random.default_rng(1).normal(size=(500, 20))
    assert (apply_within_groups(zscore, values, values) == 0).all()
