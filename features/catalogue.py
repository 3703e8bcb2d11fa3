"""The catalogue: every feature there is, by name, defined once for batch and stream."""

from __future__ import annotations

from functools import cache

from alphaloop.errors import UnknownNameError
from features.cross_section import CROSS_FEATURES, CrossFeature
from features.price import PRICE_FEATURES, PriceFeature

Feature = PriceFeature | CrossFeature


def names() -> tuple[str, ...]:
    """The names of all features, in the catalogue's order."""
    return tuple(_catalogue())


def find(name: str) -> Feature:
    """The feature called `name`; `UnknownNameError` lists those there are."""
    catalogue = _catalogue()
    if name not in catalogue:
        raise UnknownNameError("feature", name, catalogue)
    return catalogue[name]


@cache
def _catalogue() -> dict[str, Feature]:
    features: tuple[Feature, ...] = (*PRICE_FEATURES, *CROSS_FEATURES)
    return {feature.name: feature for feature in features}
