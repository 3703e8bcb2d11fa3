"""Path of requests to the inference service inside Ray Serve's processes.

Serve calls `add_service` for each of its gRPC servers. In a replica (direct ingress) the handlers are added
to that server as in the process host, with health and reflection. Serve's own path to the replica (a context,
two generators, a dozen metrics for each request) would add half of a request's time again, and hide
deadlines; the service's own metrics replace Serve's counters, and replicas are scaled by their load
(`serving.hosts.scaling`). In Serve's Python proxy there is no replica, so Serve's path is taken. HTTP takes
Serve's path, because its latency does not matter there.
"""

from __future__ import annotations

from typing import Any

from serving.server.grpc import grpc_edge

_replicas: list[Any] = []


def register_replica(service: Any) -> None:
    """Register `service` (an `InferenceService`) as the replica that this process's servers offer."""
    _replicas[:] = [service]


def unregister_replica(service: Any) -> None:
    """Remove `service`, if it is the registered replica."""
    if any(replica is service for replica in _replicas):
        _replicas.clear()


def add_service(service: Any, server: Any) -> None:
    """Offer this process's replica on `server`; without a replica, Serve's substitute `service`."""
    if not _replicas:
        grpc_edge.add_inference_service(service, server)
        return
    from serving.server.grpc.grpc_server import add_handlers

    add_handlers(_UnwrappedServer(server), _replicas[0].gateway, _replicas[0])


class _UnwrappedServer:
    """Adapter of Serve's server that adds handlers unchanged.

    Serve's own class would lead each call to Serve's path.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._base: Any = super(type(server), server)

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Add `handlers` as a plain `grpc.aio.Server` would."""
        self._base.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Ignore the handlers: `add_generic_rpc_handlers` receives the same ones."""
