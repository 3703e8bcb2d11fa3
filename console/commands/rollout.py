"""`alphaloop rollout`: which version answers for which share of capital, and the hand on the lever."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.commands.options import AsJson, By, Model, Reason, operator

app = typer.Typer(help="Rollouts: status, start, promote, abort.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="The version to put in.")]
OverrideName = Annotated[
    str, typer.Option("--override", help="The name of an exception to the gate's verdict.")
]
Rotate = Annotated[int, typer.Option(min=0, help="Drill: rotate the live features by so many places.")]
Kind = Annotated[str, typer.Option(help="real, sabotage or simulated; for the report.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="rollout")


@app.command()
def status(model: Model = "", json: AsJson = False) -> None:
    """Show the state of a rollout, its evidence so far, and how earlier ones ended."""
    from alphaloop import settings
    from control import operations

    chosen = settings.load()
    _answer(operations.status(chosen, model or chosen.serving.model), json)


@app.command()
def start(
    version: Version,
    model: Model = "",
    override: OverrideName = "",
    reason: Reason = "",
    by: By = "",
    rotate_inputs: Rotate = 0,
    kind: Kind = "real",
    json: AsJson = False,
) -> None:
    """Put a version into the shadow of the champion; evidence decides from there."""
    from alphaloop import settings
    from alphaloop.errors import InputError, UnknownNameError
    from alphaloop.rollout import Override, RolloutKind
    from control import operations

    if kind not in set(RolloutKind):
        raise UnknownNameError("kind of rollout", kind, RolloutKind)
    if rotate_inputs and not override:
        raise InputError(
            "--rotate-inputs is a drill; give it a name with --override and say why with --reason"
        )
    if override and not reason:
        raise InputError(f"--override {override} has no reason; say why with --reason")
    exception = Override(override, by or operator(), reason, rotate_inputs) if override else None
    chosen = settings.load()
    _answer(
        operations.start(
            chosen, model or chosen.serving.model, version, override=exception, kind=RolloutKind(kind)
        ),
        json,
    )


@app.command()
def promote(reason: Reason, model: Model = "", by: By = "", json: AsJson = False) -> None:
    """Make the challenger champion by hand."""
    from alphaloop import settings
    from control import operations

    chosen = settings.load()
    _answer(operations.promote(chosen, model or chosen.serving.model, reason, by or operator()), json)


@app.command()
def abort(reason: Reason, model: Model = "", by: By = "", json: AsJson = False) -> None:
    """Take the challenger out by hand."""
    from alphaloop import settings
    from control import operations

    chosen = settings.load()
    _answer(operations.abort(chosen, model or chosen.serving.model, reason, by or operator()), json)


def _answer(result: Any, as_json: bool) -> None:
    from console import output, wording

    told: dict[str, Any] = output.plain(result)

    def show() -> None:
        output.facts(wording.flattened({name: value for name, value in told.items() if name != "history"}))
        history = told.get("history") or []
        if history:
            heads = ("as_of", "version", "state", "weight", "outcome", "reason")
            output.table(heads, [[wording.figure(row.get(head)) for head in heads] for row in history])

    output.answer(told, as_json, show)
