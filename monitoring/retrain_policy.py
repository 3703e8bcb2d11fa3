"""Retrain policy: the labels that must mature after an alarm."""

from __future__ import annotations

from dataclasses import dataclass

from alphaloop.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RetrainPolicy:
    """An alarm leads to a retraining once enough labels from after the alarm have matured.

    Refitting on the handful of days that raised the alarm would teach the model one crash.
    """

    family: str
    matured_labels: int
    horizon: int

    def bars_to_wait(self) -> int:
        """Bars after the alarm until `matured_labels` of them have a known outcome."""
        return self.matured_labels + self.horizon + 1


def retrain_policy(settings: Settings) -> RetrainPolicy:
    """The retrain policy that the settings describe."""
    return RetrainPolicy(
        family=settings.retrain.family,
        matured_labels=settings.retrain.matured_labels,
        horizon=settings.training.horizon,
    )
