"""Settings that contradict each other although each of them is possible alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaloop.errors import SettingsError

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings


def require_no_contradiction(settings: Settings) -> None:
    """Raise `SettingsError` in one line where two settings cannot both be meant; shows no secret."""
    _require_meeting_stores(settings)
    _require_one_login(settings)


def _require_meeting_stores(settings: Settings) -> None:
    """Refuse replicas that share a journal on a server but not a registry: they would not meet."""
    serving = settings.serving
    replicas = max(serving.replicas, serving.max_replicas)
    if settings.journal.url and replicas > 1 and not settings.registry.uri:
        raise SettingsError(
            f"journal.url is a server's and registry.uri is empty: {replicas} replicas (serving.replicas, "
            "serving.max_replicas) on other machines would not find the versions under home; set "
            "registry.uri to an MLflow server, or one replica"
        )


def _require_one_login(settings: Settings) -> None:
    chosen = settings.registry
    token = bool(chosen.token.get_secret_value()) or chosen.token_file is not None
    password = bool(chosen.password.get_secret_value()) or chosen.password_file is not None
    login = token or password or bool(chosen.username)
    if login and not chosen.uri:
        raise SettingsError(
            "registry.uri is empty, and a registry under home takes no login; set registry.uri, or leave out "
            "registry.token, registry.username and registry.password"
        )
    if token and (password or chosen.username):
        raise SettingsError(
            "registry.token and registry.username are both set; a server takes one of the two logins"
        )
    if password is not bool(chosen.username):
        absent = "username" if password else "password"
        raise SettingsError(
            f"registry.{absent} is missing: registry.username and registry.password (or "
            "registry.password_file) are set together"
        )
