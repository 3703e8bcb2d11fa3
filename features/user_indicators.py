"""User-defined indicators, from the Python files named in the settings."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from alphaloop.errors import InputError
from features.catalogue import defined_in
from features.engine.indicator import Indicator


def indicators_of(path: Path) -> list[Indicator]:
    """Run a user's Python file and return the indicators it defines.

    Raises `InputError` for a file that does not exist, that fails (with the failing line) or that defines no
    indicator.
    """
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"features.files names {path}, which is no Python file")
    module = _run(path)
    # Their values change with the file, so the hash of a feature set that uses them must change too.
    version = int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")
    indicators = [replace(one, version=version) for one in defined_in(module)]
    if not indicators:
        raise InputError(
            f"{path} defines no indicator; decorate a function with features.engine.indicator.indicator"
        )
    return indicators


def _run(path: Path) -> ModuleType:
    # A unique, registered name: dataclasses and pickle look modules up by name.
    name = f"alphaloop_own_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"features.files names {path}, which Python cannot load")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise InputError(f"{path}, line {error.lineno}: {error.msg}; mend this file") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        # User code may raise anything; the useful answer is always the line in the file.
        lines = [
            one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == module.__file__
        ]
        line = f", line {lines[-1]}" if lines else ""
        raise InputError(f"{path}{line}: {type(error).__name__}: {error}; mend this file") from error
    return module
