"""Requests to start a rollout, and the checks that they have to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from alphaloop.errors import InputError, RolloutConflictError
from alphaloop.rollout_document import Override, RolloutDocument, RolloutKind, RolloutState
from models.registry.card import Card
from rollouts.transition import Transition, make_transition


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Request to roll out `version` from the bar `as_of` on.

    The version starts in shadow, or, with kind `ab`, answers `share` of the sleeves beside `against`.
    """

    version: str
    as_of: datetime
    kind: RolloutKind
    override: Override | None
    cause: str | None
    share: float
    against: str | None

    def opening_document(
        self, before: RolloutDocument, card: Callable[[str], Card]
    ) -> tuple[RolloutDocument, Transition]:
        """Build the document that starts the rollout after `before`, and its transition.

        Raises `InputError` for a version that its gate refused and that has no override, for the champion
        itself, and for a share outside (0, 1); `RolloutConflictError` while a rollout is under way.
        """
        if before.state is not RolloutState.STEADY:
            raise RolloutConflictError(
                f"version {before.challenger} of '{before.model}' is in {before.state}; "
                "end that rollout first"
            )
        rival = self.against or before.champion
        if self.version == rival:
            what = "is the champion already" if self.against is None else "would be compared with itself"
            raise InputError(f"version {self.version} of '{before.model}' {what}")
        compared = self.kind is RolloutKind.AB
        if compared is not (0 < self.share < 1) or (self.against is not None and not compared):
            raise InputError(
                f"a comparison (kind 'ab') takes a share in (0, 1), and nothing else does; got {self.share}"
            )
        for one in sorted({self.version, rival} - {before.champion}):
            require_passed(one, card(one), self.override, "start")
        return self._opened(before, rival, compared)

    def _opened(
        self, before: RolloutDocument, rival: str, compared: bool
    ) -> tuple[RolloutDocument, Transition]:
        moment = self.as_of.isoformat()
        document = before.next(
            state=RolloutState.CANARY if compared else RolloutState.SHADOW,
            champion=rival,
            baseline=None if rival == before.champion else before.champion,
            challenger=self.version,
            weight=self.share,
            kind=self.kind,
            override=self.override,
            cause=self.cause,
            salt=f"{before.model}/{self.version}/{before.generation}",
            started=moment,
            stage_started=moment,
        )
        words = f"compared with version {rival} at {self.share:.0%} of sleeves" if compared else "shadow"
        if self.override:
            words += f", by override '{self.override.name}': {self.override.reason}"
        return document, make_transition(document, document, as_of=moment, bars=0, reason=words)


def first_champion_document(
    model: str, version: str, override: Override | None, by: str
) -> tuple[RolloutDocument, Transition]:
    """Build the document that makes `version` the first champion of `model`, and its transition."""
    document = RolloutDocument(model=model, champion=version)
    reason = "the first champion: the baseline that every challenger has to beat"
    if override:
        reason += f", by override '{override.name}': {override.reason}"
    crowned = replace(document, challenger=version, override=override)
    step = make_transition(document, crowned, as_of="", bars=0, reason=reason, by=by)
    return document, replace(step, weight=1.0)


def require_passed(version: str, card: Card, override: Override | None, verb: str) -> None:
    """Raise `InputError` where the gate refused the version of `card` and there is no override."""
    if not card.passed and override is None:
        reasons = "; ".join(card.gate.get("reasons", ()))
        raise InputError(
            f"the gate refused version {version}: {reasons}; to use it all the same: "
            f"alphaloop rollout {verb} {version} --override NAME --reason WHY"
        )
