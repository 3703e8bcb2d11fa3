"""Credentials: where they are read, and that nothing shows them."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path

import pytest

from alphaloop.errors import AlphaloopError, InputError
from alphaloop.runtime.credentials import Secret, read_optional_secret, read_secret, redact_secrets

VALUE = "hunter2-0x5ec2e7"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Secret:
    """A credential from the environment."""
    monkeypatch.setenv("VENUE_API_KEY", f"{VALUE}\n")
    return read_secret("VENUE_API_KEY")


def test_a_credential_is_read_from_the_environment(key: Secret) -> None:
    """The variable's text, without white space around it, is what `reveal` gives."""
    assert key.reveal() == VALUE


def test_a_credential_is_read_from_a_mounted_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only NAME_FILE is set, the file's text is the credential."""
    (tmp_path / "key").write_text(f"{VALUE}\n")
    monkeypatch.setenv("VENUE_API_KEY_FILE", str(tmp_path / "key"))
    assert read_secret("VENUE_API_KEY").reveal() == VALUE


def test_a_missing_credential_names_both_ways_to_give_it() -> None:
    """Without either variable the error names both; asked for politely, nothing comes back."""
    with pytest.raises(InputError, match=r"set VENUE_API_KEY, or VENUE_API_KEY_FILE"):
        read_secret("VENUE_API_KEY")
    assert read_optional_secret("VENUE_API_KEY") is None


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff\xfe" + VALUE.encode()])
def test_a_useless_file_is_named_without_its_content(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is absent, empty or not text is named, and not one byte of it is shown."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("VENUE_API_KEY_FILE", str(file))
    with pytest.raises(InputError, match="VENUE_API_KEY_FILE") as caught:
        read_secret("VENUE_API_KEY")
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_nothing_shows_a_secret(key: Secret, caplog: pytest.LogCaptureFixture) -> None:
    """Printing, formatting, logging and containers of it show stars."""
    logging.getLogger("x").warning("key %s %r", key, key)
    shown = [repr(key), str(key), f"{key}", f"{key:>40}", f"{key!r}", "%s" % key, str([key]), caplog.text]  # noqa: UP031
    assert all(VALUE not in text and "***" in text for text in shown)
    assert not hasattr(key, "__dict__")


def test_a_secret_is_not_serialised(key: Secret) -> None:
    """Pickle and JSON refuse it, and the refusal does not show it; a copy is the same secret."""
    with pytest.raises(InputError, match=r"not serialised") as caught:
        pickle.dumps({"key": key})
    assert VALUE not in str(caught.value)
    with pytest.raises(TypeError):
        json.dumps(key)
    assert copy.deepcopy([key])[0] is key


def test_a_vendor_that_echoes_the_key_is_silenced(key: Secret) -> None:
    """Neither the error, nor what caused it, nor what happened before shows the key in a traceback."""
    try:
        try:
            try:
                raise ConnectionError(("refused", VALUE), 401)
            except ConnectionError:
                raise ValueError(f"GET /account?apiKey={VALUE}")  # noqa: B904
        except ValueError as error:
            clean = redact_secrets(error, [key])
            raise AlphaloopError(f"the venue refused: {clean}") from clean
    except AlphaloopError as error:
        text = "".join(traceback.format_exception(error))
    assert VALUE not in text.replace('raise ValueError(f"GET /account?apiKey={VALUE}")', "")
    assert "GET /account?apiKey=***" in text
