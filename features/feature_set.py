"""Feature sets: ordered lists of features, identified by a hash.

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
from features.default_features import NAMED_FEATURES
from features.engine.graph import Column, Graph, inputs_of
from features.engine.indicator import Indicator
from features.engine.warmup import mask_unsettled, require_settling, warmup_bars
from features.formula.compiler import Compiler, require_unreserved_name
from features.formula.parser import parse_formula
from features.formula.printer import column_name
from features.formula.syntax import Formula, Name
from features.user_indicators import load_user_indicators

# Raise this when an unchanged definition starts to give other values.
DEFINITION_VERSION = 2


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature set.

    Parameters
    ----------
    name : str
        Name of the column.
    formula : str
        The formula in canonical form, with all defaults filled in.
    column : Column
        Output of the operator graph that computes the feature.
    """

    name: str
    formula: str
    column: Column

    @property
    def lookback(self) -> int:
        """Bars needed for the first value, that bar included."""
        return self.column.lookback

    @property
    def warmup(self) -> int | None:
        """Bars until the value no longer depends on where history begins; None if it always does."""
        return warmup_bars(self.column)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of bars that the feature needs."""
        return inputs_of(self.column)

    @property
    def exact(self) -> bool:
        """True if batch and stream agree to the last bit."""
        return self.column.exact

    def definition(self) -> dict[str, Any]:
        """Return all that determines the values, as part of the feature set's hash."""
        return {"name": self.name, "formula": self.formula, "graph": self.column.key}


class FeatureSet:
    """Features in the order of a panel's last axis.

    Parameters
    ----------
    features : iterable of str
        Names of features, indicators, or formulas (`formula` or `name = formula`).
    formulas : mapping of str to str, optional
        Further formulas by name, which `features` may use.
    indicators : iterable of Indicator, optional
        Further indicators, which `features` may use.
    warmup : bool, default True
        Whether values are NaN until they have settled; see `features.engine.warmup`.
    cumulative : bool, default False
        Whether to accept features that never settle, such as a running sum since the first bar.

    Raises
    ------
    InputError
        For an empty set, a feature that occurs twice, a name that is taken already, and a feature that never
        settles (unless `cumulative`, or without `warmup`).
    FormulaError
        For a formula that cannot be read or compiled; the error points into the text.

    Examples
    --------
    >>> from features.feature_set import FeatureSet
    >>> chosen = FeatureSet(["rsi(14)", "trend = close / sma(50) - 1"])
    >>> chosen.names, chosen.lookback > 50
    (('rsi_14', 'trend'), True)
    >>> chosen == FeatureSet(["rsi( 14 )", "trend = (close / sma(50)) - 1"])
    True
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
        texts = {name: one.formula for name, one in NAMED_FEATURES.items()} | dict(formulas or {})
        self._formulas = {name: parse_formula(f"{name} = {text}") for name, text in texts.items()}
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
        """Operator graph that computes the features, in their order."""
        return Graph(self.columns)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Column of each feature in the graph, masked until it has settled."""
        raw = tuple(feature.column for feature in self.features)
        return tuple(mask_unsettled(column) or column for column in raw) if self._warmup else raw

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Features as `name = formula`, as the setting `features.set` takes them, with the same hash.

        They may use the set's own formulas by name: see `definition`.
        """
        return tuple(
            # An indicator may share the name of a built-in function; that name cannot be assigned.
            one.formula if one.formula == one.name else f"{one.name} = {one.formula}"
            for one in self.features
        )

    @property
    def definition(self) -> dict[str, Any]:
        """`set` and `formulas` as in the settings: the whole set except user-defined indicators."""
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
        """SHA-256 over the ordered definitions with their parameters, and the format version."""
        content = [DEFINITION_VERSION, [feature.definition() for feature in self.features]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def having(self, features: Iterable[str], formulas: Mapping[str, str] | None = None) -> FeatureSet:
        """Return a set of `features` that may use the indicators and formulas of this one.

        Parameters
        ----------
        features : iterable of str
            As in the constructor.
        formulas : mapping of str to str, optional
            Replaces this set's formulas.

        Returns
        -------
        FeatureSet
            May hold cumulative features, because a model that was trained on them must still be served.

        Raises
        ------
        InputError, FormulaError
            As the constructor does.
        """
        given = self._given if formulas is None else formulas
        return FeatureSet(features, given, self._own.values(), warmup=self._warmup, cumulative=True)

    def _understood(self, texts: Iterable[str]) -> tuple[Feature, ...]:
        language = Compiler(self._resolve)
        result = []
        for text in texts:
            formula = parse_formula(text)
            compiled = language.compile(formula)
            named = formula.expression
            if isinstance(named, Name) and named.name in self._formulas:
                compiled = language.compile(self._formulas[named.name])
            result.append(Feature(column_name(formula), compiled.text, compiled.column))
        return tuple(result)

    def _resolve(self, name: str) -> Indicator | Formula:
        if name in self._own:
            return self._own[name]
        if name in self._formulas:
            return self._formulas[name]
        try:
            return catalogue.find_indicator(name)
        except UnknownNameError as error:
            known = (*error.known, *self._own, *self._formulas)
            raise UnknownNameError("feature", name, known) from error

    def _refuse_shadows(self, formulas: Mapping[str, str]) -> None:
        for name in (*formulas, *self._own):
            require_unreserved_name(Formula(Name(name), name, name))
            taken = name in catalogue.indicator_names() or (
                name in formulas and (name in NAMED_FEATURES or name in self._own)
            )
            if taken:
                raise InputError(f"'{name}' is a feature already; give your own another name")


@cache
def default_feature_set() -> FeatureSet:
    """Return the named features in their order. Built at the first call, because TA-Lib loads slowly."""
    return FeatureSet(NAMED_FEATURES)


def __getattr__(name: str) -> FeatureSet:
    if name == "DEFAULT":
        return default_feature_set()
    raise AttributeError(name)


def feature_set_of(settings: Settings) -> FeatureSet:
    """Return the feature set that the settings describe.

    Parameters
    ----------
    settings : Settings
        `features.set`, `features.formulas`, `features.files` and `features.warmup` are read; an empty `set`
        means all named features.

    Returns
    -------
    FeatureSet
        The set with its formulas and the indicators of the user's files.

    Raises
    ------
    InputError
        For a file without indicators or one that fails, and for a set that `FeatureSet` refuses.
    FormulaError
        For a formula that cannot be read or compiled.
    """
    chosen = settings.features
    if not (chosen.set or chosen.formulas or chosen.files) and chosen.warmup:
        return default_feature_set()
    indicators = [one for path in chosen.files for one in load_user_indicators(path)]
    return FeatureSet(chosen.set or tuple(NAMED_FEATURES), chosen.formulas, indicators, warmup=chosen.warmup)


def catalogue_feature_set(bars: BarPanel) -> FeatureSet:
    """Return a set of every indicator output that the columns of `bars` allow.

    Parameters have their defaults. No value is masked, and cumulative features are included.
    """
    have = {name for name in (*PRICE_COLUMNS, "volume") if np.isfinite(getattr(bars, name)).any()}
    have |= set(bars.extra)
    texts = []
    for name in catalogue.indicator_names():
        node = catalogue.build_indicator(name)
        if set(node.inputs) <= have:
            outputs = node.operator.outputs
            texts += [name] if len(outputs) == 1 else [f"{name}.{output}" for output in outputs]
    return FeatureSet(texts, warmup=False)
