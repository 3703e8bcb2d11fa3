"""What Feast is told: the entity, the offline features and the online windows."""

from __future__ import annotations

from pathlib import Path

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Bytes, Float32, String

from features.offline import TTL

OFFLINE_VIEW = "features"
ONLINE_VIEW = "windows"
ONLINE_FEATURES = ("window", "snapshot", "feature_set")
TIMESTAMP = "timestamp"


def symbol() -> Entity:
    """The entity: a symbol of the market."""
    return Entity(
        name="symbol", join_keys=["symbol"], value_type=ValueType.STRING, description="a symbol of the market"
    )


def offline_view(files: Path, names: tuple[str, ...]) -> FeatureView:
    """Every feature of every bar, one float column each, in Parquet files (`files` may hold a `*`)."""
    return FeatureView(
        name=OFFLINE_VIEW,
        entities=[symbol()],
        ttl=TTL,
        schema=[Field(name="symbol", dtype=String), *(Field(name=name, dtype=Float32) for name in names)],
        source=FileSource(name="feature_files", path=str(files), timestamp_field=TIMESTAMP),
        online=False,
    )


def online_view(files: Path) -> FeatureView:
    """The last rows of features of a symbol, packed, with the data and the feature set they come from.

    Only the streamer writes it; `files` is a source that Feast asks for and nobody reads.
    """
    return FeatureView(
        name=ONLINE_VIEW,
        entities=[symbol()],
        ttl=TTL,
        schema=[
            Field(name="symbol", dtype=String),
            Field(
                name="window", dtype=Bytes, description="see features.windows: bar, shape and float32 rows"
            ),
            Field(name="snapshot", dtype=String, description="the data that the features were computed from"),
            Field(name="feature_set", dtype=String, description="the hash of the feature set"),
        ],
        source=FileSource(name="window_files", path=str(files), timestamp_field=TIMESTAMP),
        online=True,
    )
