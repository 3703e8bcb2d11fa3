"""The plain pages of a daemon: `/livez`, `/readyz` and `/metrics` on one port."""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from alphaloop.errors import PortInUseError, SettingsError
from alphaloop.telemetry.health import PartHealth, readiness_page

log = logging.getLogger(__name__)

STATUS = {200: "200 OK", 404: "404 Not Found", 503: "503 Service Unavailable"}
TEXT, JSON = "text/plain; charset=utf-8", "application/json"


class _Server(ThreadingMixIn, WSGIServer):
    # Otherwise closing would not wait for the threads that are still answering.
    daemon_threads = False


class _Ipv6Server(_Server):
    address_family = socket.AF_INET6


class _Answer(WSGIRequestHandler):
    """Handler of one request; a client that connects and sends nothing cannot keep the page from closing."""

    timeout = 2.0

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as error:
            log.info("a page was not read to its end: %s", error)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: pages are asked for every few seconds."""


def make_pages(
    alive: Callable[[], str], parts: Callable[[], Iterable[PartHealth]], metrics: Callable[[], bytes]
) -> Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]:
    """Build the WSGI application.

    Parameters
    ----------
    alive : callable
        Returns why the process hangs; an empty text while it works. It looks at no store.
    parts : callable
        Returns the state of each part.
    metrics : callable
        Returns the page that Prometheus scrapes.

    Returns
    -------
    callable
        WSGI application.
    """

    def answer(path: str) -> tuple[int, str, bytes]:
        if path == "/livez":
            problem = alive()
            return (503 if problem else 200), TEXT, f"{problem or 'ok'}\n".encode()
        if path == "/readyz":
            status, body = readiness_page(parts())
            return status, JSON, json.dumps(body).encode()
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics()
        return 404, TEXT, b"pages: /livez /readyz /metrics\n"

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        status, kind, content = answer(str(environ.get("PATH_INFO", "")))
        start_response(STATUS[status], [("Content-Type", kind), ("Content-Length", str(len(content)))])
        return [content]

    return application


@contextmanager
def served_pages(
    application: Any, port: int, host: str, port_setting: str, host_setting: str = "its address"
) -> Iterator[None]:
    """Serve a WSGI application on `host` and `port` while the block runs; port 0 serves nothing.

    Raises
    ------
    PortInUseError
        Where another process holds the port; names `port_setting`.
    SettingsError
        For a host or port that cannot be bound at all; names both settings.
    """
    if not port:
        yield
        return
    try:
        kind = _Ipv6Server if ":" in host else _Server
        server = make_server(host, port, application, server_class=kind, handler_class=_Answer)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use; stop what holds it, or set {port_setting} to another"
            ) from error
        raise SettingsError(
            f"{host_setting} is '{host}' and {port_setting} {port}, which cannot be bound "
            f"({error.strerror}); give an address of this machine, as 127.0.0.1, or 0.0.0.0 for all of them"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
