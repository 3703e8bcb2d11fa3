"""Adapter for Feast: opens its store over our files or our Redis, and translates its errors.

Feast takes seconds to import, so it is imported when a store is first used, without its optional parts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from alphaloop.errors import DamagedStoreError, MissingPartError, MissingStateError, VendorError
from features.store.feast.lean_import import lean_feast
from features.store.online_address import OnlineAddress, online_address
from features.store.redis_lease import translated_redis

REGISTRY_FILE = "registry.db"
ONLINE_FILE = "online.db"
BUILD_HINT = "make it with: alphaloop features build, then alphaloop features materialize"


def open_feast(folder: Path, online: str | OnlineAddress = "sqlite") -> Any:
    """Open Feast's store over the files in `folder`. Raises `MissingPartError` if Feast is not installed."""
    feast = _imported()
    address = online_address(online)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config = feast.RepoConfig(**feast_configuration(folder, address), repo_path=folder)
    with translated_feast(folder, address):
        store = feast.FeatureStore(config=config)
        if address.remote:
            store.provider.online_store.use(address)
        return store


def feast_definitions() -> Any:
    """Return the module `features.store.feast.definitions`; raises as `open_feast` does."""
    _imported()
    from features.store.feast import definitions as told

    return told


def _imported() -> Any:
    try:
        with lean_feast():
            import feast

            # Modules named in the configuration below, which Feast would import at first use.
            import feast.infra.offline_stores.duckdb
            import feast.infra.online_stores.sqlite
            import feast.infra.registry.sql
    except ImportError as error:
        raise MissingPartError(f"Feast cannot be imported ({error}); install alphaloop[features]") from error
    return feast


def feast_configuration(folder: Path, address: OnlineAddress) -> dict[str, Any]:
    """Return `feature_store.yaml` for the store in `folder`, without credentials."""
    online = {"type": "sqlite", "path": str(folder / ONLINE_FILE)}
    if address.remote:
        store = "features.store.feast.redis_store.FencedRedisOnlineStore"
        online = {"type": store, "connection_string": str(address)}
    return {
        "project": address.project,
        "provider": "local",
        # 0: definitions are read once, because they change only with the code.
        "registry": {
            "registry_type": "sql",
            "path": f"sqlite:///{folder / REGISTRY_FILE}",
            "cache_ttl_seconds": 0,
        },
        "offline_store": {"type": "duckdb"},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }


@contextmanager
def translated_feast(folder: Path, online: OnlineAddress | None = None) -> Iterator[None]:
    """Turn errors of Feast and its databases into ours, with the cause chained."""
    import sqlalchemy.exc
    from feast.errors import FeastError, FeastObjectNotFoundException

    damaged = f"the feature store in {folder} cannot be read: {{}}; remove that folder and {BUILD_HINT}"
    try:
        with ExitStack() as stack:
            if online is not None and online.remote:
                stack.enter_context(translated_redis(online))
            yield
    except FeastObjectNotFoundException as error:
        raise MissingStateError(f"the feature store in {folder} was never applied; {BUILD_HINT}") from error
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise MissingStateError(
                f"the feature store in {folder} was never applied; {BUILD_HINT}"
            ) from error
        raise VendorError(f"the online store in {folder} failed: {error}") from error
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError) as error:
        raise DamagedStoreError(damaged.format(error)) from error
    except FeastError as error:
        raise VendorError(f"Feast failed on {folder}: {error}") from error
