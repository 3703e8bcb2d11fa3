"""Waiting for the prediction server that a command needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from alphaloop.errors import MissingStateError

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

SERVER_POLL_SECONDS = 0.5


def require_server(settings: Settings, wait_seconds: float = 0.0) -> None:
    """Wait for a server at the settings' address, at most `wait_seconds`.

    Raises `MissingStateError` where no server answers, and `TlsError` where the client's TLS settings do not
    fit the server.
    """
    from alphaloop.clock import monotonic, sleep
    from cli import output

    # gRPC would log a failed handshake with a line of its own that names no remedy.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    deadline, waiting = monotonic() + wait_seconds, False
    while silent := _silent_servers(settings):
        if monotonic() >= deadline:
            waited = f" after {wait_seconds:g} s" if wait_seconds else ""
            raise MissingStateError(
                f"no server answers on {silent}{waited}; start one with `alphaloop serve`"
            )
        if not waiting:
            output.print_error(f"waiting for a server on {silent}, {wait_seconds:g} s at most")
            waiting = True
        sleep(min(SERVER_POLL_SECONDS, wait_seconds))


def _silent_servers(settings: Settings) -> str:
    """Return the address of the servers where none of them answers.

    Returns an empty text where one does.
    """
    from serving.client.client import PredictionClient

    # A new client each time: a refused one waits longer and longer before it connects again.
    with PredictionClient.from_settings(settings) as client:
        return "" if client.live() else client.url
