"""Every setting with its type, default, bounds, meaning and variable: a table, and the reference page."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from alphaloop.settings.base import Section
from alphaloop.settings.settings import CONFIG_FILE, PREFIX, Settings

BOUNDS = (
    (annotated_types.Ge, "≥", "ge"),
    (annotated_types.Gt, ">", "gt"),
    (annotated_types.Le, "≤", "le"),
    (annotated_types.Lt, "<", "lt"),
)


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One setting: its dotted name, type, bounds, default as TOML and meaning."""

    name: str
    kind: str
    default: str
    bounds: str
    description: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "__")


def entries() -> Iterator[SettingEntry]:
    """Yield every setting, section by section in the order of the loop."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                yield _entry(f"{name}.{inner}", inner_field)
        else:
            yield _entry(name, field)


def origins(file: Path = Path(CONFIG_FILE)) -> dict[str, str]:
    """Return where the value of each setting comes from: its variable, the name of `file`, or `default`."""
    present = {variable.upper() for variable in os.environ}
    table = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {entry.name: _origin(entry, present, table, file.name) for entry in entries()}


def _origin(entry: SettingEntry, present: set[str], table: dict[str, Any], file_name: str) -> str:
    whole_section = PREFIX + entry.name.partition(".")[0].upper()
    for variable in (entry.variable, whole_section):
        if variable in present:
            return variable
    value: Any = table
    for part in entry.name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "default" if value is None else file_name


def markdown() -> str:
    """Return the reference page of all settings."""
    lines = [
        "# Settings",
        "",
        "Set in `alphaloop.toml` in the working folder, or by environment variable, which goes before the "
        "file: `serving.grpc_port` is `ALPHALOOP_SERVING__GRPC_PORT`. `alphaloop config show` prints the "
        "values in force and where each comes from; `alphaloop config check` reads them and names what is "
        "wrong. This page is what `alphaloop config reference` prints.",
    ]
    section = None
    for entry in entries():
        head, _, key = entry.name.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"## `[{head}]`" if head else "## Top level", ""]
            lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        meaning = "; ".join(part for part in (entry.description, entry.bounds) if part)
        cells = (f"`{key}`", entry.kind, f"`{entry.default}`", meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def as_toml(value: Any) -> str:
    """Return `value` as TOML writes it; None, which TOML cannot write, as `not set`."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    if isinstance(value, int | float):
        return f"{value:_}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
    return '"' + str(getattr(value, "value", value)) + '"'


def _entry(name: str, field: FieldInfo) -> SettingEntry:
    default = field.get_default(call_default_factory=True)
    shown = "not set" if default is PydanticUndefined else as_toml(default)
    limits = [
        f"{sign} {getattr(limit, attribute):g}"
        for limit in field.metadata
        for kind, sign, attribute in BOUNDS
        if isinstance(limit, kind)
    ]
    return SettingEntry(name, _kind(field.annotation), shown, ", ".join(limits), field.description or "")


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) in {Union, UnionType}:
        return _kind(next(part for part in get_args(annotation) if part is not NoneType))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return "table"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
