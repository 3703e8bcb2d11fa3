"""What every group of settings has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# A hundred years, and thirty days: beyond what any of these can mean, within what the code's clocks can take.
MOST_DAYS, MOST_SECONDS = 36_500, 30 * 86_400.0


class Section(BaseModel):
    """A group of settings; unknown keys are errors, and so are numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
