"""`alphaloop serve`: serve predictions over the Open Inference Protocol until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

app = typer.Typer(help="Serve the registered models until Ctrl-C.", invoke_without_command=True)

RUNTIMES = ("ray", "process")
Runtime = Annotated[str, typer.Option(help="ray or process; serving.runtime by default.")]
Host = Annotated[str, typer.Option(help="Address to listen on, as 0.0.0.0; serving.host by default.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; serving.grpc_port by default.")]
To = Annotated[Path | None, typer.Option(help="A file to write; else it is printed.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="serve")


@app.callback()
def serve(context: typer.Context, runtime: Runtime = "", host: Host = "", port: Port = 0) -> None:
    """Serve the registered models over gRPC and HTTP until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from alphaloop.runtime.processes import adopt_orphans
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from loop import workspace

    chosen = _chosen(settings.load_settings(), runtime, host, port)
    # Wrong addresses are refused before the registry is opened and a model is loaded.
    _require_places(chosen)
    workspace.require_writable(chosen)
    workspace.open_registry(chosen)
    adopt_orphans()
    if chosen.serving.runtime == "ray":
        from serving.hosts.ray import RayHost as Server
    else:
        from serving.hosts.process import ProcessHost as Server  # type: ignore[assignment]
    output.print_line(f"starting ({chosen.serving.runtime}) …")
    server = Server(chosen)

    def announce(url: str) -> None:
        output.print_line(
            f"[green]ready[/]: gRPC {url}, HTTP {server.http_url}, Open Inference Protocol; Ctrl-C ends it"
        )
        output.print_next(next_step("serve"))

    server.run_forever(announce)
    output.print_error("drained and stopped")


def _chosen(settings: Settings, runtime: str, host: str, port: int) -> Settings:
    """Override the settings by the command's options; raises `InputError` for invalid ones."""
    from alphaloop.errors import InputError, UnknownNameError

    if host in RUNTIMES:
        raise InputError(f"--host {host} is no address; choose the runtime with: --runtime {host}")
    if runtime and runtime not in RUNTIMES:
        raise UnknownNameError("runtime", runtime, RUNTIMES)
    given = {"runtime": runtime, "host": host, "grpc_port": port}
    serving = settings.serving.model_copy(update={name: value for name, value in given.items() if value})
    return settings.model_copy(update={"serving": serving})


def _require_places(settings: Settings) -> None:
    """Raise `InputError` for an address that must not be listened on, and for a port that is in use."""
    from alphaloop.runtime.processes import require_port
    from serving.security.access import require_access_control

    serving = settings.serving
    require_access_control(serving)
    for name in ("grpc_port", "http_port", "metrics_port"):
        if getattr(serving, name):
            require_port(serving.host, getattr(serving, name), f"serving.{name}")


@app.command()
def config(to: To = None) -> None:
    """Print Ray Serve's configuration for `serve deploy` or for a RayService's serveConfigV2."""
    from alphaloop.settings import settings
    from cli import output
    from serving.hosts.deployment import serve_config_text

    text = serve_config_text(settings.load_settings())
    if to is None:
        typer.echo(text, nl=False)
        return
    to.write_text(text)
    output.print_error(f"{to} is written: serve deploy {to}")
