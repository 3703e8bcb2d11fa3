"""Find plug-ins: modules of a folder of ours, and those that other distributions announce by entry point.

A plug-in is a module that defines a name which its group knows, such as `SOURCE` or `FAMILY`. A distribution
of the user's own announces one in its `pyproject.toml`:

    [project.entry-points."alphaloop.sources"]
    mine = "my_package.my_source"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TypeVar

from alphaloop.errors import PluginError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A module that may define a plug-in.

    `name` is the module's own, or that of its entry point; `origin` says in messages where it comes from.
    """

    name: str
    module: ModuleType
    origin: str


def find_plugins(package: ModuleType, group: str, *, main_module: str | None = None) -> list[Plugin]:
    """Import the modules below `package`, then those announced under the entry point group `group`.

    Of a subpackage only its module `main_module` is imported, if that is given, and else every module.

    Raises
    ------
    PluginError
        If an entry point cannot be loaded, or names something else than a module.
    """
    names: Iterable[str]
    if main_module is None:
        every = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names = [info.name for info in every if not info.ispkg]
    else:
        direct = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        names = [f"{info.name}.{main_module}" if info.ispkg else info.name for info in direct]
    own = [Plugin(name.rpartition(".")[2], importlib.import_module(name), name) for name in names]
    return [*own, *_announced(group)]


def by_name(kind: str, named: Iterable[tuple[str, Value, Plugin]]) -> dict[str, Value]:
    """Return the values by their names; `kind` says in messages what they are, in the plural.

    Raises
    ------
    PluginError
        If two plug-ins define a value of the same name.
    """
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for name, value, plugin in named:
        if name in values:
            raise PluginError(
                f"two {kind} are called '{name}': one of {origins[name]}, one of {plugin.origin}; "
                "rename one, or uninstall its distribution"
            )
        values[name], origins[name] = value, plugin.origin
    return values


@cache
def _announced(group: str) -> tuple[Plugin, ...]:
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    return tuple(_load(point) for point in points)


def _load(point: EntryPoint) -> Plugin:
    distribution = point.dist.name if point.dist else "an unnamed distribution"
    origin = f"the entry point '{point.name}' ({point.group}, {point.value}) of {distribution}"
    try:
        module = point.load()
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise PluginError(f"{origin} cannot be loaded: {reason}; mend or uninstall {distribution}") from error
    if not isinstance(module, ModuleType):
        raise PluginError(f"{origin} is no module; name the module that defines the plug-in")
    return Plugin(point.name, module, origin)
