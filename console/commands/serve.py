"""`alphaloop serve`: predictions over the Open Inference Protocol, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

Runtime = Annotated[str, typer.Option(help="ray or process; serving.runtime of the settings by default.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; serving.grpc_port by default.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(serve)


def serve(runtime: Runtime = "", port: Port = 0) -> None:
    """Serve the registered models over gRPC until Ctrl-C."""
    from alphaloop import settings
    from alphaloop.errors import UnknownNameError
    from alphaloop.processes import adopt_orphans, require_port
    from console import output, workspace

    chosen = settings.load()
    workspace.open_registry(chosen)
    name = runtime or chosen.serving.runtime
    grpc_port = port or chosen.serving.grpc_port
    require_port(chosen.serving.host, grpc_port, "serving.grpc_port")
    adopt_orphans()
    if name == "ray":
        from serving.hosts.ray import RayHost as Host
    elif name == "process":
        from serving.hosts.process import ProcessHost as Host  # type: ignore[assignment]
    else:
        raise UnknownNameError("runtime", name, ("ray", "process"))
    output.say(f"starting ({name}) …")
    Host(chosen, grpc_port=grpc_port).run_forever(
        lambda url: output.say(f"[green]ready[/]: gRPC {url}, Open Inference Protocol; Ctrl-C ends it")
    )
    output.complain("drained and stopped")
