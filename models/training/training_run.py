"""A training: what is trained, on which data, for which strategy."""

from __future__ import annotations

from dataclasses import dataclass

from alphaloop.bars import BarPanel
from alphaloop.decision.strategy import Strategy
from features.compute.batch import FeatureFrame
from models.family import Parameters
from models.registry.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """All that decides a version, beside the settings.

    Parameters
    ----------
    model : str
        Name under which the version is registered.
    family : str
        Name of the model family.
    bars : BarPanel
        Bars to train on.
    frame : FeatureFrame
        Features of the same bars, float32 `[bars, symbols, features]`.
    snapshot : str
        Identifier of the data, for the card.
    strategy : Strategy
        The strategy that will trade the scores; it is judged with the model and named on the card.
    trials : int
        Number of tuning trials; with `parameters`, the number of attempts among which they were chosen.
    parameters : mapping of str to object, optional
        Parameters that replace the family's defaults and are not tuned.
    champion : Card, optional
        Card of the champion to beat.
    pipeline_run : str, optional
        Pipeline run, for the card.
    leak : int
        Bars by which features leak the future, for a drill (`models.training.leakage_drill`).
    """

    model: str
    family: str
    bars: BarPanel
    frame: FeatureFrame
    snapshot: str
    strategy: Strategy
    trials: int
    parameters: Parameters | None = None
    champion: Card | None = None
    pipeline_run: str | None = None
    leak: int = 0
