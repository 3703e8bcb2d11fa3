"""The parameter of a run: the settings that change a result, with their digest, and nothing of a machine.

Where stores are, and with which password, comes from the environment of each step. Of a file that changes a
result (members of a universe, corporate actions, plug-ins) the digest of its content travels, and a step
whose environment names another file refuses to run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from alphaloop.errors import InputError, SettingsError
from alphaloop.journal.record import canonical_json
from alphaloop.settings.base import FileName, Section
from alphaloop.settings.settings import Settings, load_settings, settings_from_json
from alphaloop.settings.validation_messages import refusal_message

RESULT_SECTIONS = ("data", "features", "training", "trading", "drift", "retrain")
"""Sections that change what a pipeline finds: costs, allocation and limits are in `trading`."""
STORE_FIELDS = frozenset({"location", "online", "offline", "log_location", "keep_snapshots", "keep_days"})
"""Settings of those sections that say where something is kept, and for how long."""
SCHEMA = 1
FILE_MARK = get_args(FileName)[1]
"""Mark of a setting that names a file."""
CHUNK_BYTES = 1 << 20


def run_parameter(settings: Settings) -> str:
    """Return the parameter of a run under `settings`, as JSON.

    Parameters
    ----------
    settings : Settings
        Settings of the machine that starts the run.

    Returns
    -------
    str
        JSON with `schema`, `sections`, `files` (SHA-256 by setting) and the `digest` of both.

    Raises
    ------
    InputError
        For a file of the settings that cannot be read.
    """
    content = _content(settings)
    return canonical_json({"schema": SCHEMA, **content, "digest": _digest(content)})


def settings_digest(settings: Settings) -> str:
    """Return the digest of the settings that change a result, 64 hexadecimal digits."""
    return _digest(_content(settings))


def settings_of_run(parameter: str) -> Settings:
    """Return the settings of a step: those of the parameter, and where stores are from the environment.

    A run that an earlier release compiled gives all settings, stores included.

    Parameters
    ----------
    parameter : str
        What `run_parameter` returned.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        For a parameter that is damaged, or holds a setting that this release does not know.
    InputError
        Where a file that changes the result is another one than that of the machine that started the run.
    """
    if _is_of_earlier_release(parameter):
        return settings_from_json(parameter)
    given = _parsed(parameter)
    chosen = load_settings()
    sections = {}
    for name, values in given["sections"].items():
        present: Section = getattr(chosen, name)
        try:
            sections[name] = type(present).model_validate({**present.model_dump(), **values})
        except ValidationError as error:
            raise SettingsError(f"of the run's {name}: {refusal_message(error.errors()[0])}") from error
    merged = chosen.model_copy(update=sections)
    _require_same_files(merged, given["files"])
    return merged


def step_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give a step on this machine the stores of `settings`.

    Parameters
    ----------
    settings : Settings
        Settings of the machine that starts the run.

    Returns
    -------
    dict
        One variable a section, as JSON.
    """
    variables = {"ALPHALOOP_HOME": str(settings.paths.home)}
    for name, value in settings.model_dump(mode="json", exclude={"home"}).items():
        chosen = getattr(settings, name)
        if isinstance(chosen, Section):
            secrets = {key: one.get_secret_value() for key, one in chosen if isinstance(one, SecretStr)}
            value = {**value, **secrets}  # noqa: PLW2901 - a dump hides secrets
        variables[f"ALPHALOOP_{name.upper()}"] = json.dumps(value)
    return variables


def environment_of_runs(settings: Settings) -> dict[str, str]:
    """Return the environment of a run on this machine: ours, with the stores of `settings`.

    Variables of single settings would take precedence over those of whole sections, and are left out.
    """
    kept = {name: text for name, text in os.environ.items() if not _is_single_setting(name)}
    return {**kept, **step_environment(settings)}


def _is_single_setting(variable: str) -> bool:
    return variable.upper().startswith("ALPHALOOP_") and "__" in variable


def _is_of_earlier_release(parameter: str) -> bool:
    """Test for the JSON of all settings, which the parameter was before it had a schema."""
    try:
        given = json.loads(parameter)
    except ValueError:
        return False
    return isinstance(given, dict) and "schema" not in given and "home" in given


def _parsed(parameter: str) -> dict[str, Any]:
    try:
        given = json.loads(parameter)
        content = {name: given[name] for name in ("sections", "files")}
        digest, schema = given["digest"], given["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            "the parameter 'settings' of the run is none that this release makes; start the run anew"
        ) from error
    if schema != SCHEMA or digest != _digest(content):
        raise SettingsError(
            f"the parameter 'settings' of the run has schema {schema} and digest {digest[:12]}, which do not "
            f"fit its content ({_digest(content)[:12]}, schema {SCHEMA}); start the run anew"
        )
    unknown = set(given["sections"]) - set(RESULT_SECTIONS)
    if unknown:
        raise SettingsError(f"the run has the section '{min(unknown)}', which this release does not know")
    return content


def _content(settings: Settings) -> dict[str, Any]:
    dumped = settings.model_dump(mode="json", include=set(RESULT_SECTIONS))
    sections = {
        section: {
            name: value
            for name, value in dumped[section].items()
            if name not in STORE_FIELDS and not _is_file(type(getattr(settings, section)), name)
        }
        for section in RESULT_SECTIONS
    }
    return {"sections": sections, "files": _file_digests(settings)}


def _is_file(section: type[Section], name: str) -> bool:
    """Return True for a setting that names a file or several."""
    field = section.model_fields[name]
    return "Path" in str(field.annotation) or FILE_MARK in field.metadata


def _file_digests(settings: Settings) -> dict[str, str]:
    found = {}
    for setting, files in _files(settings):
        digest = hashlib.sha256()
        for path in files:
            digest.update(_file_digest(setting, path))
        if files:
            found[setting] = digest.hexdigest()
    return found


def _files(settings: Settings) -> Iterator[tuple[str, list[Path]]]:
    """Yield each setting that names files, with these; a folder of plug-ins stands for what it holds."""
    for section in RESULT_SECTIONS:
        chosen = getattr(settings, section)
        for name in type(chosen).model_fields:
            if name not in STORE_FIELDS and _is_file(type(chosen), name):
                given = getattr(chosen, name)
                named = (given,) if isinstance(given, str | Path) else (given or ())
                yield f"{section}.{name}", [Path(one) for one in named if str(one)]
    plugins: list[Path] = []
    for path in settings.plugins:
        plugins += sorted(path.glob("*.py")) if path.is_dir() else [path]
    yield "plugins", plugins


def _file_digest(setting: str, path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(CHUNK_BYTES):
                digest.update(part)
    except OSError as error:
        raise InputError(f"{setting} names {path}, which cannot be read: {error.strerror}") from error
    return digest.digest()


def _require_same_files(settings: Settings, wanted: Mapping[str, str]) -> None:
    found = _file_digests(settings)
    for setting in sorted({*wanted, *found}):
        if wanted.get(setting) != found.get(setting):
            variable = f"ALPHALOOP_{setting.upper().replace('.', '__')}"
            has = "another file" if setting in found else "none"
            needs = f"the file with SHA-256 {wanted[setting][:12]}…" if setting in wanted else "no file"
            raise InputError(
                f"{setting}: the run was started with {needs}, and the step has {has}; set {variable} in the "
                "step's environment accordingly"
            )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
