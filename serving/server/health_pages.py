"""The server's own health for a kubelet or supervisor: `/livez` and `/readyz` beside the metrics.

They stand on the port of the metrics, which has neither TLS nor tokens: with mutual TLS a kubelet can ask
neither HTTPS nor gRPC. They name parts and reasons, and hold no secret.
"""

from __future__ import annotations

from typing import Any

from alphaloop.telemetry.health import PartHealth, PartState, readiness_page
from serving.inference.core import InferenceCore


class ServerHealth:
    """Health of one server; `drain` makes it not ready for good.

    Parameters
    ----------
    core : InferenceCore
        Core of the server.
    model : str
        Model of the settings, without which the server is of no use.
    """

    def __init__(self, core: InferenceCore, model: str) -> None:
        self._core, self._model = core, model
        self.draining = False

    def drain(self) -> None:
        """Report from now on that the server is not ready, so that nothing more is sent to it."""
        self.draining = True

    def parts(self) -> list[PartHealth]:
        """Return the state of each part, without reading a store."""
        if self.draining:
            own = PartHealth("server", PartState.DOWN, "it drains: it answers for a while, and ends")
        else:
            own = PartHealth("server")
        if self._core.ready:
            model = PartHealth("model")
        else:
            model = PartHealth("model", PartState.DOWN, f"no version of '{self._model}' is loaded yet")
        away = self._core.registry_away
        registry = PartHealth("registry", PartState.DEGRADED, str(away)) if away else PartHealth("registry")
        return [own, model, registry]

    def routes(self) -> list[Any]:
        """Return the routes of `/livez` and `/readyz`.

        `/livez` is answered by the event loop that answers predictions: no answer means that it hangs.
        """
        from starlette.requests import Request
        from starlette.responses import JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route

        async def live(request: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def ready(request: Request) -> Response:
            status, body = readiness_page(self.parts())
            return JSONResponse(body, status)

        return [Route("/livez", live), Route("/readyz", ready)]
