"""Settings of features: `features.…`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from alphaloop.settings.base import Section
from alphaloop.settings.storage import Location


class FeatureSettings(Section):
    """The feature set, its warm-up, and the offline and online stores."""

    window: int = Field(
        16,
        ge=1,
        le=100_000,
        description="rows of features kept online per symbol; at least the longest lookback of a model",
    )
    set: tuple[str, ...] = Field(
        (),
        description="feature names or `name = formula`, in the order of a model's inputs; empty means"
        " the default set",
    )
    formulas: dict[str, str] = Field(
        {}, description="formulas by name, for use in the set and in other formulas"
    )
    files: tuple[Path, ...] = Field((), description="Python files that define indicators of the user's own")
    warmup: bool = Field(
        True,
        description="leave out a value until it is within 1 % of its value on a longer history; "
        "refuse features that never are",
    )
    online: str = Field("sqlite", description="online store: sqlite, or redis://host:port/db")
    location: Location = Field(
        "",
        description="folder or s3://bucket/prefix of stored features; empty means the one that `storage` "
        "names",
    )
    offline: str = Field("", description="another name of `location`")
