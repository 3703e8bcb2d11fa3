"""The registry of families: every module that defines `FAMILY`, in `models.zoo` or in a user's plug-in."""

from __future__ import annotations

import models.zoo
from alphaloop.errors import UnknownNameError
from alphaloop.plugins import by_name, find_plugins
from models.family import Family

GROUP = "alphaloop.families"


def family_names() -> list[str]:
    """List the names of all families, sorted.

    Returns
    -------
    list of str
        The names.

    Examples
    --------
    >>> "momentum" in family_names()
    True
    """
    return sorted(_discover())


def find_family(name: str) -> Family:
    """Return the family called `name`.

    Parameters
    ----------
    name : str
        Name of the family, as `lightgbm`.

    Returns
    -------
    Family
        The family.

    Raises
    ------
    UnknownNameError
        For a name that no family has; the message lists the known names.

    Examples
    --------
    >>> find_family("momentum").lookback
    1
    """
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
            # A file of the user's own may define a family of sources under the same name.
            if hasattr(getattr(plugin.module, "FAMILY", None), "fit")
        ),
    )
