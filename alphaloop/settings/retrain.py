"""Settings of retraining: `retrain.…`."""

from __future__ import annotations

from pydantic import Field

from alphaloop.settings.base import Section


class RetrainSettings(Section):
    """When an alarm leads to a retraining, and of what."""

    family: str = "lightgbm"
    matured_labels: int = Field(42, ge=1, description="bars of matured labels after the alarm before a refit")
