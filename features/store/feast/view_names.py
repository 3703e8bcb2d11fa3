"""What things are called that Feast is told of. Unlike the definitions themselves they need no Feast."""

from __future__ import annotations

from features.store.windows import Made

ONLINE_VIEW = "windows"
ONLINE_FEATURES = ("window", "snapshot", "feature_set", "universe")
GROUP_VIEW = "features_"
_FURTHER_VIEW = ONLINE_VIEW + "_"


def further_view(made: Made) -> str:
    """The name of the view of windows that are made of another set, or universe, than the settings'."""
    return _FURTHER_VIEW + "_".join(part[:12] for part in (made.feature_set, made.universe) if part)


def is_further(view: str) -> bool:
    """Whether a view has that kind of name."""
    return view.startswith(_FURTHER_VIEW)


def service_name(set_hash: str) -> str:
    """What a feature set's service is called."""
    return f"set_{set_hash[:12]}"
