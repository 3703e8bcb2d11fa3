"""Standard gRPC health service for the server and each model.

The server has the empty name, or its gRPC service's name.

Specification: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from serving.inference.core import InferenceCore
from serving.protocol.messages import SERVICE
from serving.server.health_pages import ServerHealth


class HealthService:
    """Health service that reports `SERVING` for models that can answer, without reading the registry.

    A server that drains reports `NOT_SERVING`, so that load balancers send nothing more.
    """

    def __init__(self, core: InferenceCore, health: ServerHealth, poll_seconds: float) -> None:
        from grpc_health.v1 import health_pb2

        self._core, self._health, self._poll_seconds = core, health, poll_seconds
        self._messages = health_pb2

    async def Check(self, request: Any, context: Any) -> Any:
        """Answer with the present status; NOT_FOUND for an unknown model."""
        import grpc

        status = self._status(request.service)
        if status == self._messages.HealthCheckResponse.SERVICE_UNKNOWN:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"no model '{request.service[:200]}' is served here")
        return self._messages.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Yield the present status, and each later one that differs."""
        last = None
        while True:
            status = self._status(request.service)
            if status != last:
                last = status
                yield self._messages.HealthCheckResponse(status=status)
            await asyncio.sleep(self._poll_seconds)

    def _status(self, service: str) -> int:
        answer = self._messages.HealthCheckResponse
        of_server = service in ("", SERVICE)
        if not of_server and not self._core.rollout_versions(service):
            return int(answer.SERVICE_UNKNOWN)
        ready = self._core.ready if of_server else True
        return int(answer.SERVING if ready and not self._health.draining else answer.NOT_SERVING)
