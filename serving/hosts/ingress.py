"""How requests get to the inference service inside Ray Serve's processes.

Serve calls `add_service` for each of its gRPC servers. In a replica (direct ingress) the handlers are put
on that server as they are in the process host, health and reflection with them. Serve's own path to the
replica (a context, two generators, a dozen metrics for each request) would add half of a request's time
again, and hide deadlines; what it counts is counted by the service's own metrics, and replicas are scaled
by how busy they are (`serving.hosts.scaling`). In Serve's Python proxy there is no replica, and Serve's
path is taken. HTTP takes Serve's path, as it does not matter to latency there.
"""

from __future__ import annotations

from typing import Any

from serving.server.grpc import grpc_edge

_replicas: list[Any] = []


def announce(service: Any) -> None:
    """Make `service` (an `InferenceService`) the one that this process's servers offer."""
    _replicas[:] = [service]


def withdraw(service: Any) -> None:
    """Forget `service`, if it is the one."""
    if any(one is service for one in _replicas):
        _replicas.clear()


def add_service(service: Any, server: Any) -> None:
    """Offer the replica of this process on `server`; where there is none, Serve's stand-in `service`."""
    if not _replicas:
        grpc_edge.add_service(service, server)
        return
    from serving.server.grpc.grpc_server import add_handlers

    add_handlers(_AsItIs(server), _replicas[0].gateway, _replicas[0])


class _AsItIs:
    """Serve's server, taking handlers as they are: its own class would lead each call to Serve's path."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._base: Any = super(type(server), server)

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Add `handlers` as a plain `grpc.aio.Server` would."""
        self._base.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Nothing: the same handlers come by `add_generic_rpc_handlers` too."""
