"""Publish a rollout's metrics on a port, or in a file for node_exporter's textfile collector."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler

from alphaloop.errors import InputError, PortInUseError, SettingsError
from alphaloop.telemetry.prometheus import MetricsCollector, registry_for, render_metrics

if TYPE_CHECKING:
    from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
TEXTFILE_SUFFIX = ".prom"


class _Answer(WSGIRequestHandler):
    """Handler of one scrape.

    A client that connects and sends nothing cannot keep the page from closing.
    """

    timeout = 2.0

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as error:
            log.info("a scrape of the rollout's metrics was not answered: %s", error)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: scrapes come every few seconds."""


@contextmanager
def serve_metrics(collector: MetricsCollector, port: int, host: str = LOOPBACK) -> Iterator[None]:
    """Serve the metrics of `collector` on `host` and `port` while the block runs.

    Port 0 serves nothing.

    Raises `PortInUseError` where another process holds the port, and `SettingsError` for a host or port
    that cannot be bound at all.
    """
    if not port:
        yield
        return
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr=host, registry=registry_for(collector))
    except OSError as error:
        raise _unbound(host, port, error) from error
    server.RequestHandlerClass = _Answer
    # Without this, server_close() would not wait for the threads that are still answering.
    cast("ThreadingWSGIServer", server).daemon_threads = False
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unbound(host: str, port: int, error: OSError) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(
            f"port {port} on {host} is in use; stop what holds it, or set rollout.metrics_port to another"
        )
    return SettingsError(
        f"rollout.metrics_host is '{host}' and rollout.metrics_port {port}, which cannot be bound "
        f"({error.strerror}); give an address of this machine, as 127.0.0.1, or 0.0.0.0 for all of them"
    )


def write_metrics_file(collector: MetricsCollector, file: Path) -> None:
    """Write the current metrics of `collector` to `file`, atomically.

    node_exporter, which may run as another user, reads only files that end in `.prom`. Raises `InputError`
    for another suffix and for a file that cannot be written.
    """
    if file.suffix != TEXTFILE_SUFFIX:
        raise InputError(
            f"--output '{file}' does not end in {TEXTFILE_SUFFIX}, and node_exporter reads no other; "
            "without --output the page is printed"
        )
    content, unfinished = render_metrics(collector), file.with_name(f"{file.name}.{os.getpid()}")
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
