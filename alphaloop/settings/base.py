"""Base class and common bounds of the settings' sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

MAX_DAYS, MAX_SECONDS = 36_500, 30 * 86_400.0
"""Upper bounds of durations: a hundred years and thirty days.

They exceed every meaningful value and stay within the range of the clocks in the code.
"""


def _absolute(name: str) -> str:
    return str(Path(name).resolve()) if name else name


FileName = Annotated[str, AfterValidator(_absolute)]
"""Name of a file, or empty; made absolute, because a step of a pipeline runs in another folder."""


class Section(BaseModel):
    """A group of settings; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
