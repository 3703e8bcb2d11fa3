"""Settings of the drift monitor: `drift.…`."""

from __future__ import annotations

from pydantic import Field

from alphaloop.settings.base import Section
from alphaloop.settings.storage import Location


class DriftSettings(Section):
    """Parameters by which the drift monitor examines the prediction log."""

    location: Location = Field(
        "",
        description="folder or s3://bucket/prefix of calibrations; empty means the one that `storage` names",
    )
    window: int = Field(
        10, ge=5, le=21, description="number of live bars whose features are compared with training"
    )
    alarms_per_year: float = Field(
        0.5,
        gt=0,
        le=1,
        description="expected number of false alarms a year, by which thresholds are set on training data",
    )
    episode_gap: int = Field(
        21, ge=1, description="bars between two alarms below which they belong to one episode"
    )
