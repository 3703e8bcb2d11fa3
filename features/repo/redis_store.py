"""Former name of `features.store.feast.redis_store`, named by feature_store.yaml of repositories on disk."""

from __future__ import annotations

from features.store.feast.redis_store import FencedRedisOnlineStore, FencedRedisOnlineStoreConfig

__all__ = ["FencedRedisOnlineStore", "FencedRedisOnlineStoreConfig"]
