"""Settings of features: `features.…`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from alphaloop.settings.base import Section


class FeatureSettings(Section):
    """What the online store keeps of each symbol."""

    window: int = Field(
        16, ge=1, le=100_000, description="rows of features kept online per symbol; the longest lookback"
    )
    set: tuple[str, ...] = Field(
        (),
        description="names or `name = formula` in the order of a model's inputs; empty means the default set",
    )
    formulas: dict[str, str] = Field({}, description="formulas by name, to be used in the set and in others")
    files: tuple[Path, ...] = Field((), description="Python files that define indicators of one's own")
    warmup: bool = Field(
        True,
        description="no value before it is within 1 % of one from a longer history; refuse what never is",
    )
    online: str = Field("sqlite", description="online store: sqlite, or redis://host:port/db")
    offline: str = Field("", description="folder or s3://bucket/path of features at rest; empty means home")
