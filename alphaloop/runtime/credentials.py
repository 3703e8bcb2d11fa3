"""Credentials, read from the environment or from a mounted file, and never shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Never

from alphaloop.errors import InputError, VendorError

HIDDEN = "***"


class Secret:
    """A value that only `reveal()` returns.

    Printing, formatting, logging and comparing it shows three stars, and it cannot be serialised.
    """

    __slots__ = ("__value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.__value = value

    def reveal(self) -> str:
        """Return the value, for the vendor's SDK only."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({self.name}={HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, specification: str) -> str:
        return HIDDEN

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memory: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        raise InputError(f"{self!r} is not serialised; read it again where it is needed")


def read_secret(name: str) -> Secret:
    """Read the credential `name` from the variable `name`, else from the file in `name_FILE`.

    Kubernetes and Docker mount secrets as files; white space around the text is dropped. Raises `InputError`,
    which never contains the value, where neither variable is set, the file cannot be read, or it is empty.
    """
    credential = read_optional_secret(name)
    if credential is None:
        raise InputError(
            f"credential '{name}' is missing; set {name}, or {name}_FILE to a file that holds it"
        )
    return credential


def read_optional_secret(name: str) -> Secret | None:
    """Read a credential as `secret` does, but return None where neither variable is set."""
    if value := os.environ.get(name, "").strip():
        return Secret(name, value)
    file = os.environ.get(f"{name}_FILE", "")
    if not file:
        return None
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # The cause is left out: a decoding error carries the file's bytes.
        raise InputError(
            f"credential '{name}': {name}_FILE names {file}, which cannot be read ({type(error).__name__})"
        ) from None
    if not value:
        raise InputError(f"credential '{name}': {name}_FILE names {file}, which is empty")
    return Secret(name, value)


def redact_secrets(error: BaseException, secrets: Iterable[Secret]) -> BaseException:
    """Remove the secrets from the texts of `error` and of its causes.

    Vendors echo keys in their responses, and SDKs put the responses into their errors. An error whose texts
    cannot be changed is replaced by a `VendorError` with the same text, redacted.
    """
    values = [secret.reveal() for secret in secrets if secret.reveal()]
    return _cleaned(error, values, set())


def _cleaned(error: BaseException, values: list[str], seen: set[int]) -> BaseException:
    seen.add(id(error))
    error.args = tuple(_without(argument, values) for argument in error.args)
    shown = f"{error} {error!r}"
    if any(value in shown for value in values):
        return VendorError(f"{type(error).__name__}: {_without(str(error), values)}")
    for link in ("__cause__", "__context__"):
        cause = getattr(error, link)
        if cause is not None and id(cause) not in seen:
            suppressed = error.__suppress_context__
            setattr(error, link, _cleaned(cause, values, seen))
            error.__suppress_context__ = suppressed
    return error


def _without(argument: object, values: list[str]) -> object:
    if isinstance(argument, int | float | None):
        return argument
    text = argument if isinstance(argument, str) else str(argument)
    if not any(value in text for value in values):
        return argument
    for value in values:
        text = text.replace(value, HIDDEN)
    return text
