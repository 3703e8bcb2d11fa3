"""Names of Feast views and services; importable without Feast."""

from __future__ import annotations

from features.store.windows import WindowKey

ONLINE_VIEW = "windows"
ONLINE_FEATURES = ("window", "snapshot", "feature_set", "universe")
GROUP_VIEW = "features_"
_FURTHER_VIEW = ONLINE_VIEW + "_"


def further_view(made: WindowKey) -> str:
    """Return the name of the view of windows of another set, or universe, than the settings'."""
    return _FURTHER_VIEW + "_".join(part[:12] for part in (made.feature_set, made.universe) if part)


def is_further_view(view: str) -> bool:
    """Return whether `view` is the name of a view of further windows."""
    return view.startswith(_FURTHER_VIEW)


def service_name(set_hash: str) -> str:
    """Return the name of a feature set's service."""
    return f"set_{set_hash[:12]}"
