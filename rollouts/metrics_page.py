"""Publish a rollout's metrics on a port, or in a file for node_exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphaloop.errors import InputError
from alphaloop.telemetry.pages import served_pages
from alphaloop.telemetry.prometheus import MetricsCollector, registry_for, render_metrics

LOOPBACK = "127.0.0.1"
TEXTFILE_SUFFIX = ".prom"


@contextmanager
def serve_metrics(collector: MetricsCollector, port: int, host: str = LOOPBACK) -> Iterator[None]:
    """Serve the metrics of `collector` on `host` and `port` while the block runs.

    Port 0 serves nothing.

    Raises `PortInUseError` where another process holds the port, and `SettingsError` for a host or port
    that cannot be bound at all.
    """
    from prometheus_client import make_wsgi_app

    application = make_wsgi_app(registry_for(collector))
    with served_pages(application, port, host, "rollout.metrics_port", "rollout.metrics_host"):
        yield


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
