"""Base class and common bounds of the settings' sections."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MAX_DAYS, MAX_SECONDS = 36_500, 30 * 86_400.0
"""Upper bounds of durations: a hundred years and thirty days.

They exceed every meaningful value and stay within the range of the clocks in the code.
"""


class Section(BaseModel):
    """A group of settings; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
