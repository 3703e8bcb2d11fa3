"""`alphaloop serve`: predictions over the Open Inference Protocol, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve the registered models until Ctrl-C.", invoke_without_command=True)

Runtime = Annotated[
    str, typer.Option("--host", "--runtime", help="ray or process; serving.runtime by default.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; serving.grpc_port by default.")]
To = Annotated[Path | None, typer.Option(help="A file to write; else it is printed.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="serve")


@app.callback()
def serve(context: typer.Context, runtime: Runtime = "", port: Port = 0) -> None:
    """Serve the registered models over gRPC and HTTP until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from alphaloop import settings
    from alphaloop.errors import UnknownNameError
    from alphaloop.processes import adopt_orphans, require_port
    from console import output, workspace

    chosen = settings.load()
    if port:
        serving = chosen.serving.model_copy(update={"grpc_port": port})
        chosen = chosen.model_copy(update={"serving": serving})
    workspace.open_registry(chosen)
    name = runtime or chosen.serving.runtime
    require_port(chosen.serving.host, chosen.serving.grpc_port, "serving.grpc_port")
    adopt_orphans()
    if name == "ray":
        from serving.hosts.ray import RayHost as Host
    elif name == "process":
        from serving.hosts.process import ProcessHost as Host  # type: ignore[assignment]
    else:
        raise UnknownNameError("runtime", name, ("ray", "process"))
    output.say(f"starting ({name}) …")
    host = Host(chosen)
    host.run_forever(
        lambda url: output.say(
            f"[green]ready[/]: gRPC {url}, HTTP {host.http_url}, Open Inference Protocol; Ctrl-C ends it"
        )
    )
    output.complain("drained and stopped")


@app.command()
def config(to: To = None) -> None:
    """Print Ray Serve's configuration: for `serve deploy`, and for a RayService's serveConfigV2."""
    from alphaloop import settings
    from console import output
    from serving.hosts.deployment import config_text

    text = config_text(settings.load())
    if to is None:
        typer.echo(text, nl=False)
        return
    to.write_text(text)
    output.complain(f"{to} is written: serve deploy {to}")
