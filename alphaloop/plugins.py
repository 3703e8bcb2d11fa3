"""Find plug-ins: in a folder of ours, in files that the settings name, and in other distributions.

A plug-in is a module that defines a name which its group knows, such as `SOURCE` or `FAMILY`. The setting
`plugins` names files of the user's own, or folders of them; a distribution announces a module in its
`pyproject.toml`:

    [project.entry-points."alphaloop.sources"]
    mine = "my_package.my_source"
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from alphaloop.errors import PluginError

Value = TypeVar("Value")
_files: list[Path] = []


@dataclass(frozen=True, slots=True)
class Plugin:
    """A module that may define a plug-in.

    `name` is the module's own, or that of its entry point; `origin` says in messages where it comes from.
    """

    name: str
    module: ModuleType
    origin: str


def use_files(paths: Iterable[Path]) -> None:
    """Find plug-ins from now on in the Python files `paths` too, and in those of folders among them.

    Raises
    ------
    PluginError
        If a path is neither a folder nor a Python file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.glob("*.py") if not file.name.startswith("_"))
        elif path.is_file() and path.suffix == ".py":
            files.append(path)
        else:
            raise PluginError(f"plugins names {path}, which is neither a folder nor a Python file")
    _files[:] = [file.resolve() for file in files]


def used_files() -> tuple[Path, ...]:
    """Return the files that `use_files` found, absolute."""
    return tuple(_files)


def find_plugins(package: ModuleType, group: str, *, main_module: str | None = None) -> list[Plugin]:
    """Import the modules below `package`, the files in use, and those announced for the group `group`.

    Of a subpackage only its module `main_module` is imported, if that is given, and else every module.

    Raises
    ------
    PluginError
        If a file or an entry point cannot be loaded, or an entry point names no module.
    """
    names: Iterable[str]
    if main_module is None:
        every = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names = [info.name for info in every if not info.ispkg]
    else:
        direct = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        names = [f"{info.name}.{main_module}" if info.ispkg else info.name for info in direct]
    own = [Plugin(name.rpartition(".")[2], importlib.import_module(name), name) for name in names]
    return [*own, *_from_files(), *_announced(group)]


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
                "rename one, or take it out"
            )
        values[name], origins[name] = value, plugin.origin
    return values


def load_file(path: Path) -> ModuleType:
    """Import the Python file `path` of the user's own, which runs it; a file is run again by each call.

    Raises
    ------
    PluginError
        If the file fails in any way, with the line that did.
    """
    # A name of its own, under which it is found: dataclasses and pickles look their module up by its name.
    name = f"alphaloop_own_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no file that Python can load")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise PluginError(f"{path}, line {error.lineno}: {error.msg}; mend this file") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        # Whatever foreign code raises, the way out is the same: the line in that file.
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == module.__file__
        ]
        line = f", line {lines[-1]}" if lines else ""
        raise PluginError(f"{path}{line}: {type(error).__name__}: {error}; mend this file") from error
    return module


def _from_files() -> Iterator[Plugin]:
    for file in _files:
        yield Plugin(file.stem, _load_once(file), str(file))


@cache
def _load_once(file: Path) -> ModuleType:
    return load_file(file)


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
