"""`alphaloop export`: write model versions for other servers, as a Bento or for Triton."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.exports.exported_version import ExportedVersion

app = typer.Typer(help="Export: a model as a Bento, or for Triton.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(help="A model of the registry.")]
Versions = Annotated[
    list[str] | None, typer.Option("--version", help="A version; the champion, or the newest, by default.")
]
To = Annotated[Path | None, typer.Option(help="A folder that does not exist yet.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="export")


@app.command()
def bento(model: ModelName, version: Versions = None, to: To = None) -> None:
    """Build a Bento (BentoML) that serves the same scores: `bentoml serve FOLDER`."""
    from alphaloop.errors import InputError
    from cli import output
    from serving.exports.bento import export_bento

    if version and len(version) > 1:
        raise InputError("a Bento holds one version; name one")
    (exported,) = _read(model, version)
    built = export_bento(exported, to or Path(f"{exported.safe_name}-{exported.version}.bento"))
    output.print_line(f"{built} serves {model} version {exported.version}: bentoml serve {built}")


@app.command()
def triton(model: ModelName, version: Versions = None, to: To = None) -> None:
    """Write a model repository for Triton Inference Server; --version may be given several times."""
    from cli import output
    from serving.exports.triton import export_triton

    exported = _read(model, version)
    written = export_triton(exported, to or Path("model_repository"))
    names = ", ".join(one.version for one in exported)
    output.print_line(f"{written} holds {model} version {names}: tritonserver --model-repository {written}")


def _read(model: str, versions: list[str] | None) -> list[ExportedVersion]:
    from alphaloop.settings import settings
    from loop import workspace
    from serving.exports.exported_version import ExportedVersion

    registry = workspace.open_registry(settings.load_settings())
    return [ExportedVersion.read(registry, model, one) for one in versions or [""]]
