"""Dataclasses from stored JSON, checked field by field by pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Value = TypeVar("Value")
_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def parse_stored(kind: type[Value], text: str | bytes) -> Value:
    """Parse a JSON object into the dataclass `kind`.

    Types have to be those that JSON has for the fields' (text for an enumeration, an array for a tuple).
    Unknown keys, which a newer release may have written, are ignored. Raises `ValueError`, in one line, for
    anything else.
    """
    try:
        parsed: Value = _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(_one_line(error)) from error
    return parsed


def restore(kind: type[Value], body: Mapping[str, Any]) -> Value:
    """Convert plain values to the dataclass `kind`: text to decimals and times, lists to tuples, and so on.

    Keys that are no field are ignored. Raises `ValueError`, in one line, for a value that does not fit.
    """
    try:
        restored: Value = _adapter(kind).validate_python(dict(body))
    except ValidationError as error:
        raise ValueError(_one_line(error)) from error
    return restored


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _one_line(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in problems[:3])
