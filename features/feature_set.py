"""Feature sets: an ordered list of features under a hash.

A model version names the hash it was trained on, and serving refuses another. A feature is a name of
`features.default_features`, an indicator, or a formula over them; see `features.formula`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from alphaloop.bars import PRICE_COLUMNS, BarPanel
from alphaloop.errors import InputError, UnknownNameError
from alphaloop.settings.settings import Settings
from features import catalogue
from features.default_features import NAMED
from features.engine.graph import Column, Graph, inputs_of
from features.engine.indicator import Indicator
from features.engine.warmup import require_settling, settled, warmup
from features.formula.compiler import Language, require_free
from features.formula.parser import parse
from features.formula.printer import column_name
from features.formula.syntax import Formula, Name
from features.user_indicators import indicators_of

# To be raised when the same definition comes to mean other values.
VERSION = 2


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a set: its name, the formula in its one spelling, and the graph's column."""

    name: str
    formula: str
    column: Column

    @property
    def lookback(self) -> int:
        """Bars needed for the first value, that bar included."""
        return self.column.lookback

    @property
    def warmup(self) -> int | None:
        """Bars until it no longer depends on where history begins; None where it always does."""
        return warmup(self.column)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of bars that it needs."""
        return inputs_of(self.column)

    @property
    def exact(self) -> bool:
        """Whether batch and stream agree to the last bit."""
        return self.column.exact

    def definition(self) -> dict[str, Any]:
        """What determines its values; part of a feature set's hash."""
        return {"name": self.name, "formula": self.formula, "graph": self.column.key}


class FeatureSet:
    """Features in the order of a panel's last axis.

    `features` are names, indicators or formulas (`name = formula`); `formulas` are further formulas by name
    and `indicators` further indicators that they may use. With `warmup`, values are NaN until they have
    settled (see `features.engine.warmup`), and a feature that never settles is refused, unless `cumulative`.
    Raises `InputError` for an empty set, for a feature that is there twice and for a refused one, and
    `FormulaError` for what is wrong in a formula.
    """

    def __init__(
        self,
        features: Iterable[str],
        formulas: Mapping[str, str] | None = None,
        indicators: Iterable[Indicator] = (),
        *,
        warmup: bool = True,
        cumulative: bool = False,
    ) -> None:
        self._warmup = warmup
        self._own = {one.name: one for one in indicators}
        self._given = dict(formulas or {})
        texts = {name: one.formula for name, one in NAMED.items()} | dict(formulas or {})
        self._formulas = {name: parse(f"{name} = {text}") for name, text in texts.items()}
        self._refuse_shadows(formulas or {})
        self.features = self._understood(features)
        self.names = tuple(feature.name for feature in self.features)
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"a feature set needs features, each once; got {self.names}")
        if warmup and not cumulative:
            for feature in self.features:
                require_settling(feature.name, feature.column)

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSet) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"FeatureSet({', '.join(self.names)})"

    @cached_property
    def graph(self) -> Graph:
        """What computes the features, in their order."""
        return Graph(self.columns)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Computed column of each feature, masked until it has settled."""
        raw = tuple(feature.column for feature in self.features)
        return tuple(settled(column) or column for column in raw) if self._warmup else raw

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Its features as `name = formula`: what `features.set` of the settings takes, for the same hash.

        They may use the set's own formulas by name: see `definition`.
        """
        return tuple(
            # An indicator may be called as a function of the language is: that name cannot be given anew.
            one.formula if one.formula == one.name else f"{one.name} = {one.formula}"
            for one in self.features
        )

    @property
    def definition(self) -> dict[str, Any]:
        """What the settings call `set` and `formulas`: all that makes the set, but for own indicators."""
        return {"set": list(self.texts), "formulas": dict(self._given)}

    @cached_property
    def needed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each feature's name with the columns of bars that it needs."""
        return tuple((feature.name, feature.inputs) for feature in self.features)

    @cached_property
    def lookback(self) -> int:
        """Bars needed until every feature has a value."""
        return max(column.lookback for column in self.columns)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the ordered definitions with their parameters, and the version of their meaning."""
        content = [VERSION, [feature.definition() for feature in self.features]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def having(self, features: Iterable[str], formulas: Mapping[str, str] | None = None) -> FeatureSet:
        """A set of `features` that may use this one's indicators, and its formulas or those given.

        It may hold cumulative features: a model that was trained on them goes on being answered.
        """
        given = self._given if formulas is None else formulas
        return FeatureSet(features, given, self._own.values(), warmup=self._warmup, cumulative=True)

    def _understood(self, texts: Iterable[str]) -> tuple[Feature, ...]:
        language = Language(self._resolve)
        found = []
        for text in texts:
            formula = parse(text)
            meaning = language.meaning(formula)
            named = formula.expression
            if isinstance(named, Name) and named.name in self._formulas:
                meaning = language.meaning(self._formulas[named.name])
            found.append(Feature(column_name(formula), meaning.spelling, meaning.column))
        return tuple(found)

    def _resolve(self, name: str) -> Indicator | Formula:
        if name in self._own:
            return self._own[name]
        if name in self._formulas:
            return self._formulas[name]
        try:
            return catalogue.find(name)
        except UnknownNameError as error:
            known = (*error.known, *self._own, *self._formulas)
            raise UnknownNameError("feature", name, known) from error

    def _refuse_shadows(self, formulas: Mapping[str, str]) -> None:
        for name in (*formulas, *self._own):
            require_free(Formula(Name(name), name, name))
            taken = name in catalogue.names() or (name in formulas and (name in NAMED or name in self._own))
            if taken:
                raise InputError(f"'{name}' is a feature already; give your own another name")


@cache
def default() -> FeatureSet:
    """The named features, in their order. Made when first asked for: TA-Lib takes a moment to load."""
    return FeatureSet(NAMED)


def __getattr__(name: str) -> FeatureSet:
    if name == "DEFAULT":
        return default()
    raise AttributeError(name)


def feature_set_of(settings: Settings) -> FeatureSet:
    """The feature set of the settings: `features.set`, with `features.formulas` and `features.files`."""
    wanted = settings.features
    if not (wanted.set or wanted.formulas or wanted.files) and wanted.warmup:
        return default()
    indicators = [one for path in wanted.files for one in indicators_of(path)]
    return FeatureSet(wanted.set or tuple(NAMED), wanted.formulas, indicators, warmup=wanted.warmup)


def of_catalogue(bars: BarPanel) -> FeatureSet:
    """Every output of every indicator, with default parameters, that the columns of `bars` allow.

    None is masked, and cumulative ones are there too.
    """
    have = {name for name in (*PRICE_COLUMNS, "volume") if np.isfinite(getattr(bars, name)).any()}
    have |= set(bars.extra)
    texts = []
    for name in catalogue.names():
        node = catalogue.apply(name)
        if set(node.inputs) <= have:
            outputs = node.operator.outputs
            texts += [name] if len(outputs) == 1 else [f"{name}.{output}" for output in outputs]
    return FeatureSet(texts, warmup=False)
