"""The registry of families: every module below `models.zoo` that defines `FAMILY`."""

from __future__ import annotations

import importlib
import pkgutil

import models.zoo
from alphaloop.errors import UnknownNameError
from models.family import Family


def names() -> list[str]:
    """List the names of all families, sorted.

    Returns
    -------
    list of str
        The names.

    Examples
    --------
    >>> "momentum" in names()
    True
    """
    return sorted(_discover())


def find(name: str) -> Family:
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
    >>> find("momentum").lookback
    1
    """
    families = _discover()
    if name not in families:
        raise UnknownNameError("model family", name, families)
    return families[name]


def _discover() -> dict[str, Family]:
    families: dict[str, Family] = {}
    for module_info in pkgutil.walk_packages(models.zoo.__path__, f"{models.zoo.__name__}."):
        family = getattr(importlib.import_module(module_info.name), "FAMILY", None)
        if family is not None:
            families[family.name] = family
    return families
