"""Settings from environment variables: the syntax of lists, and variables set by Kubernetes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

# Kubernetes sets these variables in each pod for a Service called `alphaloop` (first form) or `alphaloop-…`:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE = re.compile(
    r"ALPHALOOP_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_OTHER_SERVICE = re.compile(
    r"ALPHALOOP_[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_SERVICE_VALUE = re.compile(r"((tcp|udp|sctp)://)?(\d{1,3}(\.\d{1,3}){3}|\[?[0-9a-f:]+:[0-9a-f:]*\]?)(:\d+)?")
_OPENING, _CLOSING = "([{", ")]}"


def is_kubernetes_service_variable(name: str, environment: dict[str, str]) -> bool:
    """Test for a variable that Kubernetes sets for a Service called `alphaloop` or `alphaloop-…`.

    The variables of a Service with a longer name look like settings. They are recognised by an address in the
    Service's own variables.
    """
    if _SERVICE.fullmatch(name):
        return True
    if not _OTHER_SERVICE.fullmatch(name):
        return False
    service = re.split(r"_SERVICE_(?:HOST|PORT)|_PORT(?:_\d+_|$)", name)[0]
    host = environment.get(f"{service}_SERVICE_HOST", "")
    return bool(_SERVICE_VALUE.fullmatch(host)) and f"{service}_SERVICE_PORT" in environment


def split_list(text: str) -> list[str]:
    """Split `text` at commas outside of brackets, which formulas contain.

    One comma at the end is allowed. An empty part elsewhere is kept, so that the setting's own check refuses
    it.
    """
    pieces, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            pieces.append(text[start:index])
            start = index + 1
    stripped = [one.strip() for one in (*pieces, text[start:])]
    return stripped if stripped[-1] else stripped[:-1]


def parse_list(value: Any) -> Any:
    """Parse text as a list, either JSON or words between commas; return anything else unchanged."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else split_list(value)


class EnvironmentVariables(EnvSettingsSource):
    """A source of settings from environment variables, where a list may be words between commas."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Parse the value of a list or table; raise `ValueError` for text that is neither."""
        return (
            parse_list(value) if _is_list(field) else super().decode_complex_value(field_name, field, value)
        )

    def explode_env_vars(
        self, field_name: str, field: FieldInfo, env_vars: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """Return the values of a section's variables; an empty text means an empty list."""
        fields = getattr(field.annotation, "model_fields", {})
        values = super().explode_env_vars(field_name, field, env_vars)
        return {
            name: [] if value == "" and _is_list(fields.get(name)) else value
            for name, value in values.items()
        }


def _is_list(field: FieldInfo | None) -> bool:
    return field is not None and get_origin(field.annotation) is tuple
