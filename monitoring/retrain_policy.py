"""Retrain policy: number of labels that must mature after an alarm."""

from __future__ import annotations

from dataclasses import dataclass

from alphaloop.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RetrainPolicy:
    """Policy under which an alarm leads to retraining once enough later labels have matured.

    Refitting on the few days that raised the alarm would teach the model one crash.

    Parameters
    ----------
    family : str
        Model family to retrain.
    matured_labels : int
        Bars after the alarm whose outcome must be known.
    horizon : int
        Bars of an outcome.

    Examples
    --------
    >>> RetrainPolicy("lightgbm", matured_labels=60, horizon=5).bars_to_wait()
    66
    """

    family: str
    matured_labels: int
    horizon: int

    def bars_to_wait(self) -> int:
        """Return the bars to wait after an alarm until `matured_labels` of them have a known outcome."""
        return self.matured_labels + self.horizon + 1


def make_retrain_policy(settings: Settings) -> RetrainPolicy:
    """Build the retrain policy from the sections `retrain` and `training` of the settings.

    Parameters
    ----------
    settings : Settings
        All settings.

    Returns
    -------
    RetrainPolicy

    Examples
    --------
    >>> from alphaloop.settings.settings import Settings
    >>> make_retrain_policy(Settings()).bars_to_wait() > 0
    True
    """
    return RetrainPolicy(
        family=settings.retrain.family,
        matured_labels=settings.retrain.matured_labels,
        horizon=settings.training.horizon,
    )
