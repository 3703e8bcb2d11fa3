"""Settings that contradict each other although each of them is possible alone."""

from __future__ import annotations

from alphaloop.errors import SettingsError
from alphaloop.settings.journal import JournalSettings
from alphaloop.settings.registry import RegistrySettings
from alphaloop.settings.serving import ServingSettings


def require_no_contradiction(
    serving: ServingSettings, journal: JournalSettings, registry: RegistrySettings
) -> None:
    """Raise `SettingsError` in one line where two settings cannot both be meant; shows no secret."""
    _require_meeting_stores(serving, journal, registry)
    _require_one_login(registry)


def _require_meeting_stores(
    serving: ServingSettings, journal: JournalSettings, registry: RegistrySettings
) -> None:
    """Refuse replicas that share a journal on a server but not a registry: they would not meet."""
    replicas = max(serving.replicas, serving.max_replicas)
    if journal.url and replicas > 1 and not registry.uri:
        raise SettingsError(
            f"journal.url is a server's and registry.uri is empty: {replicas} replicas (serving.replicas, "
            "serving.max_replicas) on other machines would not find the versions under home; set "
            "registry.uri to an MLflow server, or one replica"
        )


def _require_one_login(chosen: RegistrySettings) -> None:
    token = bool(chosen.token.get_secret_value()) or chosen.token_file is not None
    password = bool(chosen.password.get_secret_value()) or chosen.password_file is not None
    login = token or password or bool(chosen.username)
    if login and not chosen.uri:
        raise SettingsError(
            "registry.uri is empty, and a registry under home takes no login; set registry.uri, or leave out "
            "registry.token (registry.token_file), registry.username and registry.password "
            "(registry.password_file)"
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
