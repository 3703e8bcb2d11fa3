"""Generation of candidate features: seeded random formulas over scale-free features, without duplicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from alphaloop.bars import PRICE_COLUMNS, BarPanel
from alphaloop.errors import DataError, InputError
from features.compute.batch import backfill
from features.default_features import NAMED_FEATURES
from features.feature_set import FeatureSet
from features.formula.formula_error import FormulaError
from features.selection.scale_invariance import scale_free_formulas
from features.selection.scaling import Scaling

MAX_CORRELATION = 0.95
"""Correlation beyond which only the first of two candidates is kept."""
MIN_COVERAGE, MIN_VARYING_SHARE = 0.5, 0.25
SAMPLE_BARS, SAMPLE_SYMBOLS = 800, 20
MAX_CANDIDATES = 2_000
_DRAWN_FOR_EACH = 2
_COARSER_WEIGHT = 1.5

NamedFormula = tuple[str, str]
"""A feature's name and its formula."""
FormulaMaker = Callable[[NamedFormula, NamedFormula, int], str]
"""Builds a text from one part or two and a number of bars."""


@dataclass(frozen=True, slots=True)
class GeneratedCandidates:
    """Candidates as a feature set, and the number of distinct formulas drawn.

    `drawn` includes candidates left out for being similar to others, because they count as trials.
    """

    feature_set: FeatureSet
    drawn: int


def generate_candidates(
    bars: BarPanel, until: datetime, count: int, seed: int, base: FeatureSet | None = None
) -> GeneratedCandidates:
    """Draw candidate features that these bars allow.

    Candidates are plain features, and lags, changes, ranks, products, ratios and differences of them, also on
    coarser bars. Duplicates by canonical formula are dropped, and so are candidates that correlate beyond
    0.95 with an earlier one on the last 800 bars before `until`.

    Parameters
    ----------
    bars : BarPanel
        Bars of the universe; those after `until` are not read.
    until : datetime
        Split date, with a time zone.
    count : int
        Maximum number of candidates, 1 to 2000.
    seed : int
        Seed of the draws; the same seed draws the same candidates.
    base : FeatureSet, optional
        Features that always come first.

    Returns
    -------
    GeneratedCandidates
        Candidates and the number of distinct formulas drawn.

    Raises
    ------
    InputError
        For a count out of range.
    DataError
        If no candidate has values on these bars.
    """
    if not 1 <= count <= MAX_CANDIDATES:
        raise InputError(f"candidates is {count}; it must lie in 1 … {MAX_CANDIDATES}")
    known = bars.between(end=until)
    sample = _sample(known)
    pool = _pool(sample)
    drawn = _drawn(pool, _coarser(sample), count * _DRAWN_FOR_EACH, np.random.default_rng(seed))
    own = [f"{one.name} = {one.formula}" for one in base.features] if base else []
    make: Callable[[Sequence[str]], FeatureSet] = base.having if base else FeatureSet
    distinct = own + _drop_duplicates(drawn, base)
    texts = _drop_similar(sample, distinct, len(own), make)[: max(count, len(own))]
    if not texts:
        raise DataError(f"no candidate has values on the {len(known)} bars before {until.date()}")
    return GeneratedCandidates(make(texts), len(distinct))


def _sample(known: BarPanel) -> BarPanel:
    step = max(1, len(known.symbols) // SAMPLE_SYMBOLS)
    some = known.select(known.symbols[::step])
    return some.between(start=some.at(max(len(some) - SAMPLE_BARS, 0)).timestamp) if len(some) else some


def _pool(bars: BarPanel) -> dict[str, str]:
    """Return formulas by name that need only columns with values in these bars."""
    have = {name for name in (*PRICE_COLUMNS, "volume") if np.isfinite(getattr(bars, name)).any()}
    pool = {
        name: one.formula for name, one in NAMED_FEATURES.items() if not name.startswith(("rank_", "market_"))
    }
    pool |= {
        name: formula for name, (formula, needed) in scale_free_formulas().items() if set(needed) <= have
    }
    return dict(sorted(pool.items()))


def _coarser(bars: BarPanel) -> str:
    """Return the next coarser period: days for shorter bars, weeks for days; none for weeks."""
    if len(bars) < 2:
        return ""
    hours = float(np.median(np.diff(bars.timestamps) / np.timedelta64(1, "h")))
    if hours < 20:
        return "1d"
    return "1w" if hours < 100 else ""


def _drawn(pool: Mapping[str, str], coarser: str, count: int, chance: np.random.Generator) -> list[str]:
    """Draw `count` texts `name = formula`, of each kind by its weight."""
    names = list(pool)
    plain = [names[index] for index in chance.permutation(len(names))]
    kinds: list[FormulaMaker] = [*_KINDS, *([partial(_on_coarser, coarser)] if coarser else [])]
    weights = np.array([*_KINDS.values(), *([_COARSER_WEIGHT] if coarser else [])])
    texts = []
    for _ in range(count):
        # A third are plain features, while there are any not drawn yet.
        if plain and chance.random() < 0.34:
            name = plain.pop()
            texts.append(f"{name} = {pool[name]}")
            continue
        kind = kinds[int(chance.choice(len(kinds), p=weights / weights.sum()))]
        first, second = (names[int(one)] for one in chance.choice(len(names), 2, replace=False))
        bars = int(chance.choice([1, 5, 10, 21]))
        texts.append(kind((first, pool[first]), (second, pool[second]), bars))
    return texts


def _on_coarser(coarser: str, first: NamedFormula, second: NamedFormula, bars: int) -> str:
    return f"{first[0]}_at_{coarser} = ({first[1]}) @ {coarser}"


def _lag(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    return f"{first[0]}_lag_{bars} = lag({first[1]}, {bars})"


def _change(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    return f"{first[0]}_change_{bars} = difference({first[1]}, {bars})"


def _rank(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    return f"{first[0]}_rank = rank({first[1]})"


def _product(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    first, second = sorted((first, second))
    return f"{first[0]}_times_{second[0]} = zscore({first[1]}) * zscore({second[1]})"


def _difference(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    return f"{first[0]}_less_{second[0]} = rank({first[1]}) - rank({second[1]})"


def _ratio(first: NamedFormula, second: NamedFormula, bars: int) -> str:
    # Divides by one plus the absolute value, so that a divisor near zero does not explode.
    return f"{first[0]}_over_{second[0]} = zscore({first[1]}) / (1 + abs(zscore({second[1]})))"


_KINDS: Mapping[FormulaMaker, float] = {
    _lag: 2.0, _change: 2.0, _rank: 2.0, _product: 1.5, _difference: 1.5, _ratio: 1.0,
}  # fmt: skip


def _drop_duplicates(texts: Sequence[str], base: FeatureSet | None) -> list[str]:
    """Drop duplicates by meaning or name, candidates of `base`, and formulas that do not compile."""
    distinct: list[str] = []
    own = base.features if base else ()
    meanings, names = {one.column.key for one in own}, {one.name for one in own}
    for text in dict.fromkeys(texts):
        try:
            feature = FeatureSet([text], warmup=False).features[0]
        except FormulaError:  # a kind that this feature does not allow, such as coarser bars of coarser bars
            continue
        if feature.column.key not in meanings and feature.name not in names:
            meanings.add(feature.column.key)
            names.add(feature.name)
            distinct.append(text)
    return distinct


def _drop_similar(
    sample: BarPanel, texts: Sequence[str], keep: int, make: Callable[[Sequence[str]], FeatureSet]
) -> list[str]:
    """Drop candidates with few values or little variation, or similar to an earlier one."""
    if not texts or not len(sample):
        return list(texts[:keep])
    values = backfill(sample, make(texts)).values[len(sample) // 3 :]
    known = np.isfinite(values).mean(axis=(0, 1))
    # A feature that is equal for all symbols of a bar cannot rank them.
    differs = (np.fmax.reduce(values, axis=1) > np.fmin.reduce(values, axis=1)).mean(axis=0)
    scaled = Scaling.fit(values).apply(values).reshape(-1, len(texts)).astype(np.float64)
    scaled -= scaled.mean(axis=0)
    length = np.sqrt((scaled**2).sum(axis=0))
    scaled = np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0)
    alike = np.abs(scaled.T @ scaled)
    taken = list(range(keep))
    for index in range(keep, len(texts)):
        usable = known[index] >= MIN_COVERAGE and differs[index] >= MIN_VARYING_SHARE and length[index] > 0
        if usable and not (alike[index, taken] > MAX_CORRELATION).any():
            taken.append(index)
    return [texts[index] for index in taken]
