"""Feature sets: an ordered list of features under a hash.

A model version names the hash it was trained on, and serving refuses another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from alphaloop.errors import InputError, UnknownNameError
from features.cross_section import CROSS_FEATURES, CrossFeature
from features.price import PRICE_FEATURES, PriceFeature

Feature = PriceFeature | CrossFeature
_NAMED: dict[str, Feature] = {one.name: one for one in (*PRICE_FEATURES, *CROSS_FEATURES)}

# To be raised when the same definition comes to mean other values.
VERSION = 1


@dataclass(frozen=True)
class FeatureSet:
    """Features in the order of a panel's last axis. `UnknownNameError` for one that does not exist."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"a feature set needs features, each once; got {self.names}")
        for name in self.names:
            _named(name)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def features(self) -> tuple[Feature, ...]:
        """The definitions, in order."""
        return tuple(_named(name) for name in self.names)

    @cached_property
    def price_features(self) -> tuple[PriceFeature, ...]:
        """The features of single symbols to compute: those listed and those that others are made of."""
        priced = (one.of if isinstance(one, CrossFeature) else one for one in self.features)
        return tuple({feature.name: feature for feature in priced}.values())

    @cached_property
    def lookback(self) -> int:
        """Bars needed until every feature has a value."""
        return max(feature.lookback for feature in self.features)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the ordered definitions with their parameters, and the catalogue's version."""
        content = [VERSION, [feature.definition() for feature in self.features]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _named(name: str) -> Feature:
    if name not in _NAMED:
        raise UnknownNameError("feature", name, _NAMED)
    return _NAMED[name]


DEFAULT = FeatureSet(tuple(_NAMED))
