"""`alphaloop train`: tune, walk forward, export, gate and register one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import AsJson, Model

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

FamilyName = Annotated[str, typer.Argument(help="A model family, as momentum, lightgbm or transformer.")]
Trials = Annotated[
    int | None, typer.Option(min=0, help="Tuning trials; 0 takes the defaults; training.trials if not given.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(train)


def train(family: FamilyName, trials: Trials = None, model: Model = "", json: AsJson = False) -> None:
    """Train a model family, gate it and register it; the first version that passes becomes champion."""
    from alphaloop.clock import SystemClock
    from alphaloop.decision.book_limits import BookLimits, unfilled_cash_message
    from cli import output
    from cli.model_card_view import card_facts, fact_lines, verdict_lines
    from cli.next_steps import next_step
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from loop import workspace
    from loop.first_champion import calibrate_drift_monitor
    from models.registry.configured_registry import configured_registry
    from models.training import train as training
    from models.training.training_run import TrainingRun
    from models.zoo import registry as families
    from trading.strategy import configured_strategy

    chosen = workspace.writable_settings()
    families.find_family(family)
    strategy = configured_strategy(chosen.trading)
    name = model or chosen.serving.model
    with output.show_progress(f"training {family}") as tell:
        tell("reading bars and features")
        snapshot, bars = workspace.latest_bars(chosen)
        if kept := unfilled_cash_message(BookLimits.from_settings(chosen.trading), len(bars.symbols)):
            output.print_error(kept)
        frame = backfill(bars, feature_set_of(chosen))
        registry = configured_registry(chosen)
        document = registry.rollout(name) if name in registry.models() else None
        run = TrainingRun(
            model=name,
            family=family,
            bars=bars,
            frame=frame,
            snapshot=snapshot.id,
            strategy=strategy,
            trials=chosen.training.trials if trials is None else trials,
            champion=registry.card(name, document.champion) if document else None,
        )
        trained = training.train(run, registry, chosen, SystemClock(), tell)
        crowned, warning = document is None and trained.card.passed, ""
        if crowned:
            tell("the first champion: fixing the drift monitor's thresholds on its training years")
            crowned = _crown(chosen, name, trained.version)
        if crowned:
            warning = calibrate_drift_monitor(chosen, frame)
        elif document is not None or trained.card.passed:
            warning = calibrate_drift_monitor(chosen, frame, beside=True)
    payload = {"model": name, "version": trained.version, "champion": crowned, **card_facts(trained.card)}

    def show() -> None:
        output.print_facts(fact_lines(payload))
        for line in verdict_lines(trained.card.gate):
            output.print_line(line)
        if document is None and not crowned:
            output.print_line("no version is champion yet; a person may make this one champion all the same")

    if warning:
        output.print_error(f"warning: {warning}")
    situation = _situation(crowned=crowned, passed=trained.card.passed, challenged=document is not None)
    output.print_result(payload, json, show, next_step(situation, model=name, version=trained.version))


def _situation(*, crowned: bool, passed: bool, challenged: bool) -> str:
    """Name what follows: a champion serves, a version that passed challenges, a refused one is looked at."""
    if crowned:
        return "train champion"
    if challenged:
        return "train challenger" if passed else "train refused"
    return "train refused, no champion"


def _crown(settings: Settings, model: str, version: str) -> bool:
    """Make the first version that passed its gate champion; False where another training was first."""
    from alphaloop.clock import SystemClock
    from alphaloop.errors import RolloutConflictError
    from alphaloop.journal.opening import open_journal
    from models.registry.configured_registry import configured_registry
    from rollouts.operations import make_controller

    journal = open_journal(settings, SystemClock())
    try:
        make_controller(settings, model, journal, configured_registry(settings)).crown(version)
    except RolloutConflictError:
        return False
    return True
