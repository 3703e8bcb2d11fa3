"""Feast definitions: the entity, a view for each group of features, online windows, and the service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Bytes, Float32, String

from alphaloop.errors import UnknownNameError
from features import catalogue
from features.default_features import NAMED_FEATURES
from features.engine.graph import Column, Input
from features.feature_set import Feature, FeatureSet
from features.store.feast.view_names import GROUP_VIEW, ONLINE_VIEW, service_name
from features.store.offline_files import TTL, OfflineFiles

TIMESTAMP = "timestamp"
NO_GROUP = "own"


def all_definitions(
    feature_set: FeatureSet, files: OfflineFiles, further: Iterable[str] = ()
) -> list[Entity | FeatureView | FeatureService]:
    """Return all definitions for `feature_set` in `files`; `further` names further window views."""
    views = group_views(feature_set, files)
    return [*online_definitions(files, further), *views, feature_service(feature_set, views)]


def online_definitions(files: OfflineFiles, further: Iterable[str] = ()) -> list[Entity | FeatureView]:
    """Return the definitions for online reads: the settings' windows and the views in `further`."""
    return [
        symbol_entity(),
        *(online_view(files.address("windows"), name) for name in (ONLINE_VIEW, *further)),
    ]


def symbol_entity() -> Entity:
    """Return the entity: a symbol of the market."""
    return Entity(
        name="symbol", join_keys=["symbol"], value_type=ValueType.STRING, description="a symbol of the market"
    )


def group_views(feature_set: FeatureSet, files: OfflineFiles) -> list[FeatureView]:
    """Return a view for each group of features, one float column each, in Parquet files."""
    groups: dict[str, list[Feature]] = {}
    for feature in feature_set.features:
        groups.setdefault(catalogue_group(feature), []).append(feature)
    source = FileSource(
        name="feature_files",
        path=files.address("*"),
        timestamp_field=TIMESTAMP,
        s3_endpoint_override=files.endpoint or None,
    )
    return [
        FeatureView(
            name=GROUP_VIEW + group.replace(" ", "_"),
            entities=[symbol_entity()],
            ttl=TTL,
            schema=[Field(name="symbol", dtype=String), *(_field(one) for one in members)],
            source=source,
            online=False,
            description=f"features of the group {group}",
            tags={"group": group},
        )
        for group, members in groups.items()
    ]


def online_view(files: str, name: str = ONLINE_VIEW) -> FeatureView:
    """Return the view of a symbol's last rows of features, packed, with data and definition ids.

    Only the streamer writes it; `files` is a source that Feast requires and nobody reads.
    """
    return FeatureView(
        name=name,
        entities=[symbol_entity()],
        ttl=TTL,
        schema=[
            Field(name="symbol", dtype=String),
            Field(
                name="window",
                dtype=Bytes,
                description="see features.store.windows: bar, shape and float32 rows",
            ),
            Field(name="snapshot", dtype=String, description="the data that the features were computed from"),
            Field(name="feature_set", dtype=String, description="the hash of the feature set"),
            Field(
                name="universe",
                dtype=String,
                description="the hash of the symbols that were ranked together; empty where no feature ranks",
            ),
        ],
        source=FileSource(
            name="window_files" if name == ONLINE_VIEW else f"{name}_files",
            path=files,
            timestamp_field=TIMESTAMP,
        ),
        online=True,
    )


def feature_service(feature_set: FeatureSet, views: list[FeatureView]) -> FeatureService:
    """Return the whole set as a feature service named by its hash.

    Models refer to that name; the tag `order` holds the order of their inputs.
    """
    return FeatureService(
        name=service_name(feature_set.hash),
        features=views,
        description=f"{len(feature_set)} features, in the order of a model's inputs in the tag 'order'",
        tags={
            "hash": feature_set.hash,
            "order": ",".join(feature_set.names),
            "lookback": str(feature_set.lookback),
        },
    )


def catalogue_group(feature: Feature) -> str:
    """Return the catalogue group of the first indicator in the feature's formula."""
    indicator = _first_indicator(feature.column)
    try:
        return catalogue.find_indicator(indicator).group if indicator else NO_GROUP
    except UnknownNameError:
        # A user-defined indicator, which only the set knows.
        return NO_GROUP


def _first_indicator(column: Column) -> str:
    if isinstance(column, Input):
        return ""
    definition: Mapping[str, object] = column.node.definition
    if "indicator" in definition:
        return str(definition["indicator"])
    return next(filter(None, map(_first_indicator, column.node.arguments)), "")


def _field(feature: Feature) -> Field:
    named = NAMED_FEATURES.get(feature.name)
    return Field(
        name=feature.name,
        dtype=Float32,
        description=named.description if named else feature.formula,
        tags={
            "formula": feature.formula,
            "lookback": str(feature.lookback),
            "exact": str(feature.exact).lower(),
            "inputs": ",".join(feature.inputs),
        },
    )
