"""Settings of the drift monitor: `drift.…`."""

from __future__ import annotations

from pydantic import Field

from alphaloop.settings.base import Section


class DriftSettings(Section):
    """How the drift monitor looks at the prediction log."""

    window: int = Field(10, ge=5, le=21, description="bars of live features compared with training")
    alarms_per_year: float = Field(0.5, gt=0, le=1, description="false alarms a year allowed in training")
    episode_gap: int = Field(21, ge=1, description="alarms closer than this are one episode")
