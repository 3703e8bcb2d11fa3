"""Sleeve plans: the capital sleeves that the challenger answers, from the share in the rollout document."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from alphaloop.errors import InputError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutDocument, RolloutState


@dataclass(frozen=True, slots=True)
class SleevePlan:
    """The sleeves that the challenger answers, for one document and one set of sleeves."""

    document: RolloutDocument
    canary: frozenset[str] = field(default_factory=frozenset)

    def route(self, sleeve: str) -> Route:
        """Return the route of a request made for `sleeve`."""
        return Route.CANARY if sleeve in self.canary else Route.CHAMPION

    def version(self, sleeve: str) -> str:
        """Return the version that answers `sleeve`."""
        if sleeve in self.canary and self.document.challenger is not None:
            return self.document.challenger
        return self.document.champion


def plan_sleeves(document: RolloutDocument, sleeves: Sequence[str]) -> SleevePlan:
    """Assign the first `covered_sleeves` sleeves by salted hash to the challenger.

    Ranking the hashes, instead of comparing each with the weight, makes the share exact; and a larger weight
    keeps every sleeve of a smaller weight, so capital moves only once.
    """
    if document.state is not RolloutState.CANARY:
        return SleevePlan(document)
    ranked = sorted(sleeves, key=lambda name: hashlib.sha256(f"{document.salt}/{name}".encode()).digest())
    return SleevePlan(document, frozenset(ranked[: covered_sleeves(document.weight, len(ranked))]))


def covered_sleeves(weight: float, sleeves: int) -> int:
    """Return the number of sleeves that the share `weight` covers.

    A share between 0 and 1 covers at least one sleeve and never all: a canary without a sleeve would gather
    no evidence, and one with all sleeves would leave nothing to compare with.
    """
    covered = round(weight * sleeves)
    return min(max(covered, 1), sleeves - 1) if 0 < weight < 1 and sleeves > 1 else covered


def require_share(weight: float, sleeves: int, name: str) -> None:
    """Raise `InputError` for a share that rounds to no sleeve or to all sleeves."""
    if round(weight * sleeves) != covered_sleeves(weight, sleeves):
        least, most = 1 / sleeves, 1 - 1 / sleeves
        raise InputError(
            f"{name} {weight:g} covers {round(weight * sleeves)} of {sleeves} sleeves; with trading.sleeves "
            f"{sleeves} a share lies between {least:g} and {most:g}"
        )


def sleeve_names(count: int) -> tuple[str, ...]:
    """Return the names of `count` sleeves of capital: `sleeve-00`, `sleeve-01`, …"""
    return tuple(f"sleeve-{index:02d}" for index in range(count))
