"""`alphaloop rollout`: show a rollout, start it, and end it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alphaloop.runtime.jsonable import to_jsonable
from cli.commands.options import AsJson, By, Model, Reason, operator

if TYPE_CHECKING:
    from alphaloop.rollout_document import Override, RolloutDocument
    from alphaloop.settings.settings import Settings

app = typer.Typer(
    help="Rollouts: status, metrics, crown, start, promote, abort, simulate.", no_args_is_help=True
)

Version = Annotated[str, typer.Argument(help="The version to roll out.")]
OverrideName = Annotated[str, typer.Option("--override", help="Name of an override of the gate's verdict.")]
Rotate = Annotated[int, typer.Option(min=0, help="Drill: rotate the live features by so many places.")]
Kind = Annotated[str, typer.Option(help="real, sabotage or simulated; for the report.")]
Compare = Annotated[bool, typer.Option("--ab", help="Compare at a fixed --share; nothing is promoted by it.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for a running `control run` to do it.")]
Share = Annotated[float, typer.Option(min=0, max=1, help="With --ab: the share of sleeves for VERSION.")]
Against = Annotated[str, typer.Option(help="With --ab: the other version; by default the champion.")]
Rollouts = Annotated[int, typer.Option(min=1, help="Simulated rollouts of each kind.")]
Effect = Annotated[float, typer.Option(help="Difference a bar, in standard deviations of that difference.")]
Ic = Annotated[float, typer.Option(help="Instead of --effect: the difference of IC a bar.")]
Names = Annotated[int, typer.Option(min=0, help="Symbols to rank; 0 takes all of the source.")]
Horizon = Annotated[
    int, typer.Option(min=1, help="Bars of an outcome; the IC is measured as many bars apart.")
]
Bars = Annotated[int, typer.Option(min=0, help="Longest duration; 0 takes rollout.max_bars.")]
Whole = Annotated[
    bool, typer.Option("--trial", help="Run the acceptance study instead: planted faults, crises.")
]
Output = Annotated[
    Path | None, typer.Option(help="A .prom file in the folder of node_exporter's textfile collector.")
]
Seed = Annotated[int, typer.Option(help="Seed of the drawn dates.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="rollout")


@app.command()
def status(model: Model = "", json: AsJson = False) -> None:
    """Show the state of a rollout, its evidence so far, and how earlier ones ended."""
    from alphaloop.settings import settings
    from rollouts import operations

    chosen = settings.load_settings()
    _answer(operations.rollout_status(chosen, model or chosen.serving.model), json, "rollout status")


@app.command()
def metrics(model: Model = "", output: Output = None) -> None:
    """Print the metrics of a rollout in Prometheus' format, or write them to a file."""
    import sys

    from alphaloop.settings import settings
    from alphaloop.telemetry.prometheus import render_metrics
    from rollouts import operations
    from rollouts.metrics_page import write_metrics_file

    chosen = settings.load_settings()
    collector = operations.rollout_metrics(chosen, model or chosen.serving.model)
    if output is None:
        sys.stdout.write(render_metrics(collector).decode())
    else:
        write_metrics_file(collector, output)


@app.command()
def start(
    version: Version,
    model: Model = "",
    override: OverrideName = "",
    reason: Reason = "",
    by: By = "",
    rotate_inputs: Rotate = 0,
    kind: Kind = "real",
    ab: Compare = False,
    share: Share = 0.0,
    against: Against = "",
    no_wait: NoWait = False,
    json: AsJson = False,
) -> None:
    """Start a version in shadow beside the champion; the evidence decides the next steps.

    Where there is no champion yet, --override makes the version champion at once, as `rollout crown` does.
    Warns where the longest duration cannot decide, where the version's features are not written to the online
    store, and where its card has figures of another strategy. With --ab two versions share the sleeves at a
    fixed weight instead, until the longest duration or `rollout promote` or `rollout abort`.
    """
    from alphaloop.errors import UnknownNameError
    from alphaloop.rollout_document import RolloutKind
    from cli.notices import strategy_notice
    from loop import first_champion, workspace
    from rollouts import operations
    from trading.strategy import configured_strategy

    if kind not in set(RolloutKind):
        raise UnknownNameError("kind of rollout", kind, RolloutKind)
    exception = first_champion.make_override(override, reason, by or operator(), rotate_inputs)
    chosen = workspace.writable_settings()
    name = model or chosen.serving.model
    if exception and not (ab or rotate_inputs or operations.has_champion(chosen, name)):
        # Without a champion there is no comparison, so the version would stay in shadow for ever.
        _crown(chosen, name, version, exception, exception.by, json)
        return
    document = operations.start_rollout(
        chosen,
        name,
        version,
        override=exception,
        kind=RolloutKind.AB if ab else RolloutKind(kind),
        share=share,
        against=against or None,
        by=by or operator(),
        wait=not no_wait,
    )
    if document is None:
        _left_to_control(name, json)
        return
    card = workspace.open_registry(chosen).card(name, version)
    warnings = (
        operations.power_warning(chosen),
        operations.features_warning(chosen, document),
        strategy_notice(card, version, configured_strategy(chosen.trading)),
    )
    _answer_warned(document, "; ".join(filter(None, warnings)), json, "rollout start")


@app.command()
def crown(
    version: Version,
    model: Model = "",
    override: OverrideName = "",
    reason: Reason = "",
    by: By = "",
    json: AsJson = False,
) -> None:
    """Make a version the first champion by hand; one that its gate refused needs --override and --reason.

    `alphaloop train` crowns the first version that passes its gate. Later versions challenge the champion
    with `alphaloop rollout start`.
    """
    from loop import first_champion, workspace

    who = by or operator()
    chosen = workspace.writable_settings()
    exception = first_champion.make_override(override, reason, who)
    _crown(chosen, model or chosen.serving.model, version, exception, who, json)


@app.command()
def promote(
    reason: Reason, model: Model = "", by: By = "", no_wait: NoWait = False, json: AsJson = False
) -> None:
    """Make the challenger champion by hand; where `control run` is running, it does so."""
    from loop import workspace
    from rollouts import operations

    chosen = workspace.writable_settings()
    name = model or chosen.serving.model
    step = operations.promote_challenger(chosen, name, reason, by or operator(), wait=not no_wait)
    if step is None:
        _left_to_control(name, json)
    else:
        _answer(step, json, "rollout promote")


@app.command()
def abort(
    reason: Reason, model: Model = "", by: By = "", no_wait: NoWait = False, json: AsJson = False
) -> None:
    """Roll the challenger back by hand; where `control run` is running, it does so."""
    from loop import workspace
    from rollouts import operations

    chosen = workspace.writable_settings()
    name = model or chosen.serving.model
    step = operations.abort_rollout(chosen, name, reason, by or operator(), wait=not no_wait)
    if step is None:
        _left_to_control(name, json)
    else:
        _answer(step, json, "rollout abort")


@app.command()
def simulate(
    rollouts: Rollouts = 1_000,
    effect: Effect = 0.2,
    ic: Ic = 0.0,
    names: Names = 0,
    horizon: Horizon = 1,
    bars: Bars = 0,
    seed: Seed = 1,
    trial: Whole = False,
    json: AsJson = False,
) -> None:
    """Simulate rollouts on bootstrapped real outcomes: false rollbacks and promotions, power, time.

    An equal, a worse and a better challenger go through the same tests and stages as real ones. With --trial,
    runs every scenario of the acceptance study instead, in minutes; exit 1 where a target is missed.
    """
    from alphaloop.settings import settings
    from rollouts.validation.operating_characteristics import SimulationRequest, simulate_characteristics

    if trial:
        _try(rollouts, seed, json)
        return
    question = SimulationRequest(
        rollouts=rollouts, effect=effect, ic=ic or None, names=names, horizon=horizon, bars=bars, seed=seed
    )
    _answer(simulate_characteristics(settings.load_settings(), question), json, "rollout simulate")


def _try(rollouts: int, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from alphaloop.settings import settings
    from cli import formatting, output
    from rollouts.validation.acceptance import AcceptanceStudy

    findings = list(AcceptanceStudy(settings.load_settings(), rollouts=rollouts, seed=seed).findings())
    payload = {"findings": [asdict(one) | {"holds": one.holds} for one in findings]}
    heads = ("what", "where", "rollouts", "bars", "share", "target", "99 % by bar", "layers")

    def row(index: int) -> list[str]:
        one = findings[index]
        mark = (
            ""
            if one.target is None
            else ("≤ " if one.at_most else "≥ ") + formatting.format_percent(one.target, 0)
        )
        share = formatting.format_percent(one.share, 1) + ("" if one.holds else " MISSED")
        counts = [formatting.format_figure(one.rollouts), formatting.format_figure(one.bars)]
        return [one.name, one.where, *counts, share, mark, formatting.format_figure(one.slowest), one.layers]

    output.print_result(
        to_jsonable(payload),
        as_json,
        lambda: output.print_table(heads, [row(one) for one in range(len(findings))]),
    )
    if not all(one.holds for one in findings):
        raise typer.Exit(1)


def _crown(
    settings: Settings, model: str, version: str, exception: Override | None, by: str, as_json: bool
) -> None:
    from loop import first_champion

    document, warning = first_champion.crown_first_champion(
        settings, model, version, override=exception, by=by
    )
    _answer_warned(document, warning, as_json, "rollout crown")


def _left_to_control(model: str, as_json: bool) -> None:
    """Say that a request was journaled, and that nobody waits for its answer."""
    _answer({"model": model, "asked": "control run"}, as_json, "rollout status")


def _answer_warned(document: RolloutDocument, warning: str, as_json: bool, situation: str) -> None:
    from cli import output

    if warning:
        output.print_error(f"warning: {warning}")
    _answer({**to_jsonable(document), "warning": warning or None}, as_json, situation)


def _answer(result: Any, as_json: bool, situation: str) -> None:
    from cli import formatting, output
    from cli.next_steps import next_step

    payload: dict[str, Any] = to_jsonable(result)

    def show() -> None:
        output.print_facts(
            formatting.flatten_facts({name: value for name, value in payload.items() if name != "history"})
        )
        history = payload.get("history") or []
        if history:
            heads = ("as_of", "version", "state", "weight", "outcome", "reason")
            intraday = formatting.are_intraday(row.get("as_of") for row in history)
            shown = [
                {**row, "as_of": formatting.format_time(row.get("as_of"), intraday=intraday)}
                for row in history
            ]
            output.print_table(
                heads, [[formatting.format_figure(row.get(head)) for head in heads] for row in shown]
            )

    output.print_result(payload, as_json, show, next_step(situation))
