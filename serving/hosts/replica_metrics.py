"""Metrics page of a local Ray, with the replica's port as a label."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.request import urlopen

from alphaloop.errors import PortInUseError
from alphaloop.telemetry.prometheus import registry_for
from serving.hosts.environment import replica_ports
from serving.protocol.address import format_address

log = logging.getLogger(__name__)

LABEL = "replica"
# Replicas bind their own ports on all addresses.
LOOPBACK = "127.0.0.1"
SCRAPE_SECONDS = 2.0


class ReplicaMetricsCollector:
    """Collector of the metrics pages at the addresses (`host:port`) of `replicas`.

    A replica that does not answer is left out.
    """

    def __init__(self, replicas: Sequence[str]) -> None:
        self._replicas = tuple(replicas)

    def collect(self) -> Iterator[Any]:
        """Yield the metric families of all replicas."""
        from prometheus_client.core import Metric
        from prometheus_client.parser import text_string_to_metric_families

        families: dict[str, Any] = {}
        for replica in self._replicas:
            for family in text_string_to_metric_families(_page(replica)):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    labels = {**sample.labels, LABEL: replica.rpartition(":")[2]}
                    merged.add_sample(sample.name, labels, sample.value)
        yield from families.values()


class MetricsPage:
    """HTTP server of the metrics page on `port` of `host`, from construction until `close`.

    Raises `PortInUseError` if the port cannot be bound.
    """

    def __init__(self, pages: ReplicaMetricsCollector, host: str, port: int) -> None:
        from prometheus_client import start_http_server

        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry_for(pages))
        except OSError as error:
            raise PortInUseError(
                f"port {port} on {host} cannot be bound ({error.strerror}); set serving.metrics_port"
            ) from error

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def open_metrics_page(host: str, port: int, in_front: str = "") -> MetricsPage | None:
    """Serve the metrics of this machine's replicas, or of the one behind the proxy `in_front`.

    Returns None for port 0.
    """
    if not port:
        return None
    replicas = (
        [in_front]
        if in_front
        else [format_address(LOOPBACK, replica_port) for replica_port in replica_ports()]
    )
    return MetricsPage(ReplicaMetricsCollector(replicas), host, port)


def _page(replica: str) -> str:
    try:
        with urlopen(f"http://{replica}/metrics", timeout=SCRAPE_SECONDS) as answer:
            return str(answer.read().decode())
    except (OSError, ValueError) as error:
        log.debug("no replica answers on %s: %s", replica, error)
        return ""
