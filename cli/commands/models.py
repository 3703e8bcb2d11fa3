"""`alphaloop models`: list registered versions, show their cards, sign them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands.options import AsJson

app = typer.Typer(help="Models: versions, cards and gate verdicts.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(help="A model; serving.model of the settings by default.")]
Version = Annotated[str, typer.Argument(help="A version; the champion, or the newest, by default.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="models")


@app.command("list")
def list_models(json: AsJson = False) -> None:
    """List every registered version with its figures and the gate's verdict."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from cli.model_card_view import card_facts
    from cli.next_steps import next_step
    from loop import workspace

    registry = workspace.open_registry(settings.load_settings())
    versions = [
        {"model": name, "version": version, "role": _role(registry, name, version), **card_facts(card)}
        for name in registry.models()
        for version in registry.versions(name)
        for card in [registry.card(name, version)]
    ]

    def show() -> None:
        numbers = ("IC", "t", "Sharpe, net", "active IR, net")
        rows = [
            [
                one["model"],
                one["version"],
                one["family"],
                one["role"],
                formatting.format_decimal(one["ic"], 4),
                formatting.format_decimal(one["ic_tstat"], 1),
                formatting.format_decimal(one["sharpe_net"]),
                formatting.format_decimal(one["active_ir_net"]),
                "passed" if one["gate"].get("passed") else "refused",
            ]
            for one in versions
        ]
        output.print_table(("model", "version", "family", "role", *numbers, "gate"), rows, numbers=numbers)

    output.print_result(versions, json, show, next_step("models list"))


@app.command()
def show(model: ModelName = "", version: Version = "", json: AsJson = False) -> None:
    """Show the card of a version: data, parameters, walk-forward record, gate and fidelity."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from cli.model_card_view import card_facts, fact_lines, verdict_lines
    from cli.next_steps import next_step
    from loop import workspace

    chosen = settings.load_settings()
    registry = workspace.open_registry(chosen)
    name = model or chosen.serving.model
    document = registry.rollout(name)
    chosen_version = version or (document.champion if document else registry.versions(name)[-1])
    facts: dict[str, Any] = {
        "model": name,
        "version": chosen_version,
        "role": _role(registry, name, chosen_version),
    }
    facts |= card_facts(registry.card(name, chosen_version))

    def show_card() -> None:
        output.print_facts(fact_lines(facts))
        heads = sorted({key for row in facts["walk_forward"] for key in row}, key=_fold_order)
        rows = [[formatting.format_figure(row.get(head)) for head in heads] for row in facts["walk_forward"]]
        output.print_table(heads, rows)
        for line in verdict_lines(facts["gate"]):
            output.print_line(line)

    step = next_step("models show", model=name, version=chosen_version)
    output.print_result(facts, json, show_card, step)


def _role(registry: Any, model: str, version: str) -> str:
    document = registry.rollout(model)
    if document is None:
        return ""
    return {document.champion: "champion", document.challenger: "challenger"}.get(version, "")


def _fold_order(name: str) -> tuple[int, str]:
    first = ("train", "train_first", "train_last", "test_first", "test_last", "ic")
    return (first.index(name) if name in first else len(first), name)


@app.command()
def sign(
    model: Annotated[str, typer.Argument(help="A model.")],
    version: Annotated[str, typer.Argument(help="A version of it.")],
    key: Annotated[Path, typer.Option(help="PEM file of an Ed25519 private key.")],
) -> None:
    """Sign a version, so that servers with the public key in serving.signing_key accept it."""
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from loop import workspace
    from serving.security import signature

    registry = workspace.open_registry(settings.load_settings())
    registry.sign(model, version, signature.sign_digest(registry.card(model, version).digest, key))
    output.print_error(f"{model} version {version} is signed")
    output.print_next(next_step("models sign"))
