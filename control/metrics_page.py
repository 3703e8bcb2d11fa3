"""Where Prometheus finds the metrics of a rollout: a page on loopback, or a file of node_exporter's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler

from alphaloop.errors import InputError, PortInUseError
from alphaloop.exposition import Collects, page, registry_of

if TYPE_CHECKING:
    from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
SETTING = "rollout.metrics_port"
SUFFIX = ".prom"


class _Answer(WSGIRequestHandler):
    """One scrape. Who connects and asks nothing is not waited for, so that the page can be closed."""

    timeout = 2.0

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as error:
            log.info("a scrape of the rollout's metrics was not answered: %s", error)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: scrapes come every few seconds."""


@contextmanager
def metrics_page(collector: Collects, port: int) -> Iterator[None]:
    """Serve what `collector` says on `port` of this machine while the block runs; nothing for port 0.

    Raises `PortInUseError` where the port cannot be had.
    """
    if not port:
        yield
        return
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry_of(collector))
    except OSError as error:
        raise PortInUseError(
            f"port {port} on {HOST} cannot be bound ({error.strerror}); stop what holds it, or set {SETTING} "
            "to another"
        ) from error
    server.RequestHandlerClass = _Answer
    # Closing waits for the threads that are still answering.
    cast("ThreadingWSGIServer", server).daemon_threads = False
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_page(collector: Collects, file: Path) -> None:
    """Write what `collector` says now to `file`, whole or not at all; `InputError` where that cannot be.

    node_exporter, which may run as another user, reads only files that end in `.prom`.
    """
    if file.suffix != SUFFIX:
        raise InputError(
            f"--output '{file}' does not end in {SUFFIX}, and node_exporter reads no other; "
            "without --output the page is printed"
        )
    content, unfinished = page(collector), file.with_name(f"{file.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"--output '{file}' cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from error
