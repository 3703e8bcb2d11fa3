"""The registry that the settings name: a folder under home, or an MLflow server."""

from __future__ import annotations

from alphaloop.journal.opening import document_reader
from alphaloop.settings.settings import Settings
from models.registry.model_registry import Registry
from models.registry.server_login import ServerLogin
from models.registry.server_store import ServerStore


def configured_registry(settings: Settings) -> Registry:
    """Return the registry of `settings`; nothing is opened, asked or created before its first call.

    Parameters
    ----------
    settings : Settings
        Section `registry`, and the folder under home: of the registry itself, or of what is cached of the
        server.

    Returns
    -------
    Registry
    """
    folder, chosen = settings.paths.registry, settings.registry
    store = ServerStore(chosen.uri, folder, ServerLogin(chosen)) if chosen.uri else None
    return Registry(folder, store, document_reader(settings))


def has_registry(settings: Settings) -> bool:
    """Test whether there is a registry: its folder; a server always is one."""
    return bool(settings.registry.uri) or settings.paths.registry.exists()


def registry_name(settings: Settings) -> str:
    """Return the registry's folder or address for a message; it holds no login."""
    return settings.registry.uri or str(settings.paths.registry)
