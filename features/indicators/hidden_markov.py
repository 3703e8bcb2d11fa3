"""Market regimes by a hidden Markov model of log returns, fitted on the past and then frozen.

`fit` reads returns up to a stated moment and returns a `GaussianMarkov`: plain numbers that become a
parameter of the indicator, and with it part of a feature set's hash. The indicator updates the forward filter
bar by bar: the probability of each state given the returns so far. It never smooths and never decodes a path,
because both would look ahead (Rabiner 1989, section III; Hamilton 1989).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps, to_datetime64
from alphaloop.errors import DataError, InputError, MissingPartError
from features.engine.arithmetic.moments import Values, log_ratio
from features.engine.arithmetic.parameters import require_between
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive, State

MAX_STATES = 8
MIN_RETURNS_PER_STATE = 30
"""Returns for each state that a fit must have."""
RESTARTS = 3
"""Fits from different starts, drawn from the seed, of which the likeliest is kept."""


@dataclass(frozen=True, slots=True)
class GaussianMarkov:
    """A hidden Markov model with normal returns; states in order of their deviations, calmest first.

    `start[i]` and `transitions[i][j]` are probabilities; `means` and `deviations` are those of a bar's log
    return in each state. Raises `InputError` for numbers that are no such model.
    """

    start: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.start)
        shape = (len(self.transitions), len(self.means), len(self.deviations))
        if not 1 <= count <= MAX_STATES or shape != (count, count, count):
            raise InputError(
                f"a Markov model has 1 to {MAX_STATES} states, all its parts as many; got {shape}"
            )
        for row in (self.start, *self.transitions):
            usable = all(math.isfinite(one) and one >= 0 for one in row)
            if len(row) != count or not usable or abs(sum(row) - 1) > 1e-6:
                raise InputError(
                    f"{row} are no {count} probabilities of a Markov model; they must add up to 1"
                )
        if not all(map(math.isfinite, self.means)):
            raise InputError(f"the means of a Markov model are {self.means}; they must be finite")
        if not all(math.isfinite(one) and one > 0 for one in self.deviations):
            raise InputError(f"the deviations of a Markov model are {self.deviations}; they must be above 0")

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.start)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Number of states, then start, transitions by row, means and deviations."""
        rows = [probability for row in self.transitions for probability in row]
        return (float(self.states), *self.start, *rows, *self.means, *self.deviations)

    @property
    def text(self) -> str:
        """`numbers` as text that gives back the same bits: the indicator's parameter."""
        return " ".join(map(repr, self.numbers))

    @classmethod
    def of(cls, text: str) -> GaussianMarkov:
        """Parse a model from `text`. Raises `InputError` for any other text."""
        try:
            numbers = [float(word) for word in text.replace(",", " ").split()]
        except ValueError as error:
            raise InputError(f"the Markov model '{_short(text)}' is not made of numbers: {error}") from error
        count = int(numbers[0]) if numbers and 1 <= numbers[0] <= MAX_STATES else 0
        needed = 1 + 3 * count + count * count
        if not count or len(numbers) != needed or numbers[0] != count:
            raise InputError(
                f"the Markov model '{_short(text)}' has {len(numbers)} numbers; it must begin with "
                f"the number of states n, 1 to {MAX_STATES}, and go on with n + n * n + n + n more"
            )
        parts = np.split(np.array(numbers[1:]), np.cumsum([count, count * count, count]))
        start, rows, means, deviations = (tuple(part.tolist()) for part in parts)
        transitions = tuple(rows[first : first + count] for first in range(0, count * count, count))
        return cls(start, transitions, means, deviations)


USUAL = GaussianMarkov(
    start=(0.75, 0.25),
    transitions=((0.98, 0.02), (0.05, 0.95)),
    means=(0.0006, -0.0008),
    deviations=(0.008, 0.02),
)
"""Round numbers for daily returns of a stock index, calm and turbulent; fit your own to other markets."""


@indicator(group="regime", reference="Hamilton 1989")
def hidden_markov(state: int = 1, model: str = USUAL.text) -> Operator:
    """Probability of hidden state `state` (0 the calmest) given the log returns so far, 0 to 1.

    `model` is `GaussianMarkov.text`, as `fit` makes it. The forward filter of Hamilton, "A new approach to
    the economic analysis of nonstationary time series", Econometrica 57 (1989). The first value comes with
    the second bar, from the model's start.
    """
    found = GaussianMarkov.of(model)
    require_between("state", state, 0, found.states - 1)
    start = partial(_start, states=found.states)
    # Exponentials round differently for other numbers of symbols, hence within a tolerance.
    return Recursive(start, partial(_filter, model=found, state=state), lookback=2, exact=False)


def fit_hidden_markov(
    returns: npt.ArrayLike, times: Timestamps, until: datetime, states: int = 2, seed: int = 0
) -> GaussianMarkov:
    """Fit a model of the log returns at or before `until`, by maximum likelihood (Baum and Welch 1970).

    `returns` is `[T]`, or `[T, N]` for several symbols that share one model; NaN are left out. `times` are
    the closes at which they were known, `[T]`, in order. Returns after `until` are not read. The same
    arguments give the same model. Raises `DataError` for too few returns or constant ones.
    """
    require_between("states", states, 1, MAX_STATES)
    values = np.asarray(returns, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != len(times):
        raise InputError(
            f"returns have shape {values.shape} and times {len(times)}; give [T] or [T, N], and [T]"
        )
    past = values[np.asarray(times, dtype="datetime64[ns]") <= to_datetime64(until)]
    sequences = [column[np.isfinite(column)] for column in past.T]
    sequences = [one for one in sequences if len(one)]
    known = np.concatenate([np.zeros(0), *sequences])
    if len(known) < states * MIN_RETURNS_PER_STATE:
        raise DataError(
            f"{len(known)} returns until {until.isoformat()} are too few for {states} states; "
            f"at least {states * MIN_RETURNS_PER_STATE} are needed"
        )
    centre, size = float(known.mean()), float(known.std())
    if not size > 1e-12 * float(np.abs(known).max()):
        raise DataError(f"the returns until {until.isoformat()} are constant; no states can be told apart")
    return _likeliest((known - centre) / size, [len(one) for one in sequences], states, seed).rescaled(
        centre, size
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A model of standardised returns, states in any order."""

    start: Values
    transitions: Values
    means: Values
    deviations: Values

    def rescaled(self, centre: float, size: float) -> GaussianMarkov:
        order = np.argsort(self.deviations, kind="stable")
        start = self.start[order] / self.start.sum()
        rows = self.transitions[order][:, order]
        rows = rows / rows.sum(axis=1, keepdims=True)
        return GaussianMarkov(
            start=tuple(start.tolist()),
            transitions=tuple(tuple(row) for row in rows.tolist()),
            means=tuple((self.means[order] * size + centre).tolist()),
            deviations=tuple((self.deviations[order] * size).tolist()),
        )


def _likeliest(standard: Values, lengths: list[int], states: int, seed: int) -> _Fitted:
    try:
        from hmmlearn.hmm import GaussianHMM
    except ImportError as error:
        raise MissingPartError(
            "fitting a Markov model needs hmmlearn, which is not installed; install alphaloop[selection]"
        ) from error
    best, score = None, -math.inf
    random = np.random.default_rng(seed)
    for _ in range(RESTARTS):
        # The library's priors are meant for values of size 1, which standardised returns have.
        model = GaussianHMM(states, "diag", min_covar=1e-4, n_iter=200, tol=1e-3, init_params="")
        model.startprob_ = np.full(states, 1 / states)
        model.transmat_ = _persistent(states)
        model.means_ = random.normal(0, 0.1, (states, 1))
        model.covars_ = (_spreads(standard, states) * random.lognormal(0, 0.3, states))[:, None]
        model.fit(standard[:, None], lengths)
        found = float(model.score(standard[:, None], lengths))
        if math.isfinite(found) and found > score:
            best, score = model, found
    if best is None:
        raise DataError(f"no Markov model of {states} states fits these returns; ask for fewer states")
    deviations = np.sqrt(best.covars_.reshape(states))
    return _Fitted(best.startprob_, best.transmat_, best.means_[:, 0], deviations)


def _persistent(states: int) -> Values:
    """Return transitions that stay with probability 0.9, as the start of a fit."""
    others = 0.1 / (states - 1) if states > 1 else 0.0
    return np.where(np.eye(states) > 0, 1 - others * (states - 1), others)


def _spreads(standard: Values, states: int) -> Values:
    """Return mean squares of groups of returns, from smallest to largest, as the start of a fit."""
    squares = np.sort(standard * standard)
    return np.array([max(float(part.mean()), 1e-3) for part in np.array_split(squares, states)])


def _start(symbols: int, states: int) -> State:
    """Return the last close, and the probabilities so far (NaN before the first return)."""
    return np.full(symbols, np.nan), np.full((symbols, states), np.nan)


def _filter(
    state_so_far: State, inputs: tuple[Values, ...], model: GaussianMarkov, state: int
) -> tuple[State, tuple[Values, ...]]:
    before, so_far = state_so_far
    value = log_ratio(inputs[0], before)
    moved = (so_far[:, :, None] * np.array(model.transitions)[None]).sum(axis=1)
    expected = np.where(np.isnan(so_far), np.array(model.start)[None], moved)
    deviations = np.array(model.deviations)
    apart = (value[:, None] - np.array(model.means)) / deviations
    logarithm = -0.5 * apart * apart - np.log(deviations)
    # Relative to the likeliest state that is possible at all, so that no return is too far out for all.
    highest = np.where(expected > 0, logarithm, -np.inf).max(axis=1, keepdims=True)
    joint = expected * np.exp(np.minimum(logarithm - highest, 0.0))
    found = joint / joint.sum(axis=1, keepdims=True)
    found = np.where(np.isnan(value)[:, None], so_far, found)
    return (inputs[0], found), (found[:, state],)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
