"""`alphaloop backtest`: trade a registered version on bars on which it was not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from alphaloop.runtime.jsonable import to_jsonable
from cli.commands.options import AsJson, parse_time

if TYPE_CHECKING:
    from alphaloop.bars import BarPanel
    from alphaloop.decision.strategy import Strategy
    from alphaloop.settings.settings import Settings
    from models.registry.card import Card

ModelName = Annotated[str, typer.Argument(help="A model of the registry, as equities.")]
Version = Annotated[str, typer.Option(help="A version; the champion, or the newest, by default.")]
From = Annotated[
    str, typer.Option("--from", help="First day; by default the first after the last label of training.")
]
To = Annotated[str, typer.Option("--to", help="Last day; the last of the source by default.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(backtest)


def backtest(
    model: ModelName, version: Version = "", from_: From = "", to: To = "", json: AsJson = False
) -> None:
    """Trade a version's scores on past bars, and compare with equal weight and 12-1 momentum."""
    from alphaloop.settings import settings
    from cli import formatting, notices, output
    from cli.next_steps import next_step
    from loop import workspace
    from trading.strategy import configured_strategy

    chosen = settings.load_settings()
    strategy = configured_strategy(chosen.trading)
    registry = workspace.open_registry(chosen)
    document = registry.rollout(model) if model in registry.models() else None
    chosen_version = version or (document.champion if document else registry.versions(model)[-1])
    card = registry.card(model, chosen_version)
    calendar = workspace.workspace_source(chosen).calendar
    until = parse_time(to, "--to", calendar, end_of_day=True) if to else None
    bars = workspace.source_bars(chosen, until)
    first = _first_bar(bars, card, chosen_version, from_)
    said = notices.book_notices(chosen, workspace.workspace_source(chosen), len(bars.symbols))
    said += filter(None, [notices.strategy_notice(card, chosen_version, strategy)])
    for line in said:
        output.print_error(line)
    scores = _scores(chosen, model, chosen_version, bars, first)
    intraday = formatting.are_intraday(bars.timestamps)
    result: dict[str, Any] = {
        "model": model,
        "version": chosen_version,
        "family": card.family,
        "first": formatting.format_time(str(bars.timestamps[first]), intraday=intraday),
        "last": formatting.format_time(str(bars.timestamps[-1]), intraday=intraday),
        "in_sample": first < _first_unseen(bars, card),
        **to_jsonable(_trade(chosen, strategy, bars, scores, first)),
        "notices": said,
    }
    output.print_result(result, json, lambda: _show(result), next_step("backtest"))


def _show(result: dict[str, Any]) -> None:
    from cli import formatting, notices, output
    from cli.model_card_view import format_strategy

    heads = ("Sharpe, net", "return, net", "deepest loss")
    rows = [
        [
            name.replace("_", " "),
            formatting.format_decimal(result[name]["sharpe_net"]),
            formatting.format_percent(result[name]["net_return"]),
            formatting.format_percent(result[name]["max_drawdown"]),
        ]
        for name in ("strategy", "equal_weight", "momentum_12_1")
    ]
    output.print_table(("", *heads), rows, numbers=heads)
    span = f"{result['first']} to {result['last']}, {result['orders']:,} orders"
    output.print_line(f"{result['family']} version {result['version']}, {span}")
    output.print_line(f"strategy: {format_strategy(result['traded_by'])}")
    output.print_line(
        f"refusals: {notices.format_refusals(result['refused'])}; "
        f"in cash: {formatting.format_percent(result['cash'])}"
    )
    if result["in_sample"]:
        output.print_line(
            "[yellow]in sample[/]: it was trained on these bars, or on labels that reach into them"
        )


def _first_unseen(bars: BarPanel, card: Card) -> int:
    """Return the index of the first bar after the last label in the version's training."""
    from datetime import datetime

    from models.labels import first_unseen_bar

    return first_unseen_bar(bars.timestamps, datetime.fromisoformat(str(card.train_last)), card.horizon)


def _first_bar(bars: BarPanel, card: Card, version: str, first_day: str) -> int:
    """Return the index of the first bar to trade; raises `InputError` where no bars are left."""
    import numpy as np

    from alphaloop.bars import to_datetime64
    from alphaloop.errors import InputError

    if first_day:
        index = int(
            np.searchsorted(
                bars.timestamps, to_datetime64(parse_time(first_day, "--from", bars.calendar)), "left"
            )
        )
    else:
        index = _first_unseen(bars, card)
    if len(bars) - index < 2:
        known = f"the bars reach to {str(bars.timestamps[-1])[:10]}"
        if first_day:
            raise InputError(f"--from {first_day} leaves nothing to trade: {known}")
        raise InputError(
            f"version {version} was trained to {str(card.train_last)[:10]} on labels that end "
            f"{card.horizon + 1} bars later, and {known}: nothing is left to trade; --from DAY trades bars "
            "that it was trained on, and says so"
        )
    return index


def _scores(settings: Settings, model: str, version: str, bars: BarPanel, first: int) -> Any:
    """Compute the version's scores, float64 `[timestamps, symbols]`, from bar `first` on; NaN before."""
    import numpy as np

    from cli import formatting, output
    from features.feature_set import feature_set_of
    from models.registry.configured_registry import configured_registry
    from rollouts.evidence.score_parity import ScoreRecomputation

    recomputation = ScoreRecomputation(configured_registry(settings), feature_set_of(settings))
    frames = recomputation.frames(bars)
    scores = np.full(bars.close.shape, np.nan)
    intraday = formatting.are_intraday(bars.timestamps)
    with output.show_progress_bar("scoring", len(bars) - first) as step:
        for index in range(first, len(bars)):
            scores[index] = recomputation.scores(model, version, frames, index)
            step(formatting.format_time(str(bars.timestamps[index]), intraday=intraday))
    return scores


def _trade(settings: Settings, strategy: Strategy, bars: BarPanel, scores: Any, first: int) -> dict[str, Any]:
    from dataclasses import replace

    from alphaloop.bars import to_datetime
    from alphaloop.costs import CostModel
    from alphaloop.decision.strategy import StrategyIdentity
    from cli import output
    from loop import workspace
    from trading import backtest as engine
    from trading.execution.instrument_terms import InstrumentTerms
    from trading.risk.risk_check import RiskLimits

    start = to_datetime(bars.timestamps[first])
    costs = CostModel.from_settings(settings.trading)
    with output.show_progress("trading") as tell:
        tell(f"{len(bars) - first:,} bars through the engine")
        traded = engine.run_backtest(
            bars.between(start=start),
            scores[first:],
            strategy=strategy,
            limits=replace(RiskLimits.from_settings(settings.trading), prediction_deadline_ms=None),
            costs=costs,
            capital=settings.trading.capital,
            simulated=workspace.workspace_source(settings).adjusted_only,
            terms=InstrumentTerms.from_settings(settings.trading, bars.symbols),
        )
    return {
        "traded_by": StrategyIdentity.of(strategy).to_body(),
        "strategy": traded.metrics,
        "equal_weight": engine.performance_metrics(
            engine.equal_weight(bars, costs, start), traded.timestamps
        ),
        "momentum_12_1": engine.performance_metrics(
            engine.momentum_12_1(bars, costs, strategy, start), traded.timestamps
        ),
        "orders": traded.orders,
        "fills": traded.fills,
        "refusals": traded.refusals,
        "refused": traded.refused,
        "cash": traded.cash,
        "turnover": traded.turnover,
        "costs": traded.costs,
    }
