"""Alpaca's credentials: named where they are wrong or missing, and never shown."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Callable

import pytest

from alphaloop.errors import InputError, VendorError
from marketdata.sources.alpaca import AlpacaSource

from .alpaca_venue import KEY, Venue
from .alpaca_websocket import collected

WRONG = "wr0ng/s3cret+VALUE"


def test_wrong_credentials_are_named_and_never_shown(
    alpaca: AlpacaSource, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the message, the traceback with every variable in it, the log at its lowest level, or a repr."""
    monkeypatch.setenv("APCA_API_SECRET_KEY", WRONG)
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        attempts: list[Callable[[], object]] = [
            lambda: alpaca.history(("AAPL",)),
            lambda: asyncio.run(collected(alpaca, venue, 1, ("AAPL",))),
        ]
        for attempt in attempts:
            with pytest.raises(VendorError, match=r"check APCA_API_KEY_ID and") as caught:
                attempt()
            capture_locals = "the variables of frames are shown"
            shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            text = "".join(shown.format()) + repr(caught.value)
            assert capture_locals in text
            assert WRONG not in text
            assert KEY not in text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "connecting to" in heard.getvalue()
    lines = heard.getvalue().splitlines()
    # Frames are logged in hexadecimal, cut in the middle: those that the client sends must not be at all.
    assert [line for line in lines if "BINARY" in line and not line.startswith("websockets.server")] == []
    for hidden in (WRONG, KEY, WRONG.encode().hex(" ")):
        assert hidden not in heard.getvalue()
        assert hidden not in repr(alpaca) + str(alpaca.__dict__)


def test_missing_credentials_say_what_to_set(alpaca: AlpacaSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read before it is used, and then the variable is named."""
    monkeypatch.delenv("APCA_API_KEY_ID")
    with pytest.raises(InputError, match="APCA_API_KEY_ID"):
        alpaca.history(("AAPL",))
