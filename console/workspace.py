"""What commands need of the workspace: the settings' symbols as bars, clean and under a snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from alphaloop.errors import MissingStateError

if TYPE_CHECKING:
    from alphaloop.market import BarPanel
    from alphaloop.settings import Settings
    from features.snapshots import Snapshot
    from features.source import Source
    from models.registry import Registry


def source_of(settings: Settings) -> Source:
    """The source that the settings name; `UnknownNameError` for another."""
    from features.sources import registry

    return registry.find(settings.data.source)


def latest_bars(settings: Settings) -> tuple[Snapshot, BarPanel]:
    """The newest snapshot of the source and its bars; the source's history is stored if there is none.

    Raises `UnknownNameError` for a source or symbol that does not exist, and `DataError` for bars
    that must not be believed.
    """
    from alphaloop.market import BarPanel
    from features.snapshots import SnapshotStore

    source = source_of(settings)
    store = SnapshotStore(settings.paths.snapshots)
    snapshot = store.latest(source.name) or take_snapshot(settings)
    return snapshot, BarPanel.from_table(store.load(snapshot.id))


def source_bars(settings: Settings, until: datetime | None = None) -> BarPanel:
    """All bars of the source (up to `until`) for the settings' symbols, checked."""
    from alphaloop.market import BarPanel
    from features.quality import require_clean
    from features.source import require_symbols

    source = source_of(settings)
    table = source.history(require_symbols(source, settings.data.symbols), None, until)
    require_clean(table, source.calendar, f"source '{source.name}'")
    return BarPanel.from_table(table)


def take_snapshot(settings: Settings, until: datetime | None = None) -> Snapshot:
    """Store the source's bars (up to `until`); the same bars give the same snapshot."""
    from features.snapshots import SnapshotStore

    bars = source_bars(settings, until)
    return SnapshotStore(settings.paths.snapshots).save(bars.to_table(), settings.data.source)


def open_registry(settings: Settings) -> Registry:
    """The registry; `MissingStateError` before the first training."""
    from models.registry import Registry

    folder = settings.paths.registry
    registry = Registry(folder)
    if not folder.exists() or not registry.models():
        raise MissingStateError(
            f"no model is registered in {folder}; `alphaloop train momentum` registers one"
        )
    return registry


def server_url(settings: Settings) -> str:
    """Where the settings say that predictions are served."""
    return f"{settings.serving.host}:{settings.serving.grpc_port}"


def require_server(settings: Settings) -> None:
    """Raise `MissingStateError` unless a server answers there."""
    from serving.client import PredictionClient

    client = PredictionClient(server_url(settings), settings.serving.model)
    try:
        if not client.live():
            raise MissingStateError(
                f"no server answers on {server_url(settings)}; start one with `alphaloop serve`"
            )
    finally:
        client.close()
