"""The families that there are: every module below `models.zoo` that defines `FAMILY`."""

from __future__ import annotations

import models.zoo
from alphaloop.errors import UnknownNameError
from alphaloop.plugins import by_name, find_plugins
from models.family import Family

GROUP = "alphaloop.families"


def names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(_discover())


def find(name: str) -> Family:
    """The family called `name`; raises `UnknownNameError` with those that there are."""
    families = _discover()
    if name not in families:
        raise UnknownNameError("model family", name, families)
    return families[name]


def _discover() -> dict[str, Family]:
    plugins = find_plugins(models.zoo, GROUP)
    return by_name(
        "model families",
        (
            (plugin.module.FAMILY.name, plugin.module.FAMILY, plugin)
            for plugin in plugins
            if hasattr(plugin.module, "FAMILY")
        ),
    )
