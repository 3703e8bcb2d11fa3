"""Settings of retraining: `retrain.…`."""

from __future__ import annotations

from pydantic import Field

from alphaloop.settings.base import Section


class RetrainSettings(Section):
    """The model family to retrain, and the labels that must mature before."""

    family: str = Field("lightgbm", description="model family to retrain")
    matured_labels: int = Field(
        42,
        ge=1,
        description="bars of matured labels that must follow an alarm before a model is fitted again",
    )
