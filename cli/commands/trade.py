"""`alphaloop trade`: trade bar by bar on the server's forecasts, and journal every decision."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.features_stream import split_days
from cli.commands.options import AsJson, PagePort

if TYPE_CHECKING:
    from alphaloop.decision.strategy import Strategy
    from alphaloop.settings.settings import Settings
    from loop.turn import Loop, ReplayMarket
    from models.registry.model_registry import Registry
    from trading.progress import TradingProgress

STREAM = "trading"
DEFAULT_WAIT_SECONDS = 60.0
Broker = Annotated[str, typer.Option(help="Where orders go.")]
Replay = Annotated[
    str,
    typer.Option(
        help="FROM:TO, two days; a book goes on with the bar after its last decision. Default: all new bars."
    ),
]

Lockstep = Annotated[
    bool,
    typer.Option("--lockstep", help="Go on only when `alphaloop control run --lockstep` is done with a bar."),
]
Live = Annotated[
    bool,
    typer.Option("--live", help="Follow the bars that `alphaloop features stream` stores, as a daemon."),
]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for a server that is still starting.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(trade)


def trade(
    broker: Broker = "paper",
    replay: Replay = "",
    wait: Wait = DEFAULT_WAIT_SECONDS,
    lockstep: Lockstep = False,
    live: Live = False,
    port: PagePort = 0,
    json: AsJson = False,
) -> None:
    """Trade on the running server's forecasts, bar by bar, and journal every decision.

    While `alphaloop control run` runs, it judges rollout and drift; without it this command does.
    """
    from cli.commands.trade_live import require_live_options, trade_live

    require_live_options(live=live, replay=replay, lockstep=lockstep, port=port)
    if live:
        trade_live(broker, wait, port)
    else:
        _trade_replay(broker, replay, wait, lockstep=lockstep, json=json)


def _trade_replay(broker: str, replay: str, wait: float, *, lockstep: bool, json: bool) -> None:
    from alphaloop.bars import to_datetime
    from alphaloop.clock import ReplayClock
    from alphaloop.journal.opening import open_journal
    from alphaloop.journal.roles import control_role
    from alphaloop.runtime.processes import require_port
    from cli import formatting, output, server_wait
    from cli.next_steps import next_step
    from loop import workspace
    from loop.daemons.lockstep import wait_for_part
    from loop.wiring import LoopContext, open_loop
    from trading.broker import find_broker
    from trading.recovery import restore_engine
    from trading.strategy import configured_strategy

    chosen = workspace.writable_settings()
    find_broker(broker)
    strategy = configured_strategy(chosen.trading)
    # Malformed days and a port in use are refused before any data is read.
    days = _days_of(replay, workspace.workspace_source(chosen).calendar)
    if chosen.rollout.metrics_port:
        require_port(chosen.rollout.metrics_host, chosen.rollout.metrics_port, "rollout.metrics_port")
    registry = workspace.open_registry(chosen)
    server_wait.require_server(chosen, wait)
    market = _market(chosen, replay)
    goes_on = to_datetime(market.future.timestamps[0])
    if days and goes_on < days[0]:
        output.print_error(
            f"the book goes on from {goes_on.isoformat()}, the bar after the last that its journal decided; "
            "--replay says where a new book begins"
        )
    clock = ReplayClock(to_datetime(market.past.timestamps[-1]))
    journal = open_journal(chosen, clock)
    world = LoopContext(chosen, clock, journal, registry)
    part = control_role(chosen.serving.model)
    controlled = journal.holder_of(part)
    said = _notices(chosen, market, registry, strategy, controlled)
    for line in said:
        output.print_error(line)
    judges = controlled is None and not lockstep
    with (
        open_loop(world, market, stream=STREAM, watched=False, broker=broker, judges=judges) as loop,
        output.show_progress_bar("trading", len(market.future)) as step,
    ):
        # Books and open orders are restored from the journal.
        restore_engine(loop.engine, journal.records(STREAM), market.past)
        intraday = formatting.are_intraday(market.past.timestamps)
        before = loop.engine.last.equity if loop.engine.last else Decimal(chosen.trading.capital)
        for bars in market.future.slices():
            turn = loop.turn(bars)
            if lockstep:
                wait_for_part(journal.progress, part, turn.as_of, output.print_error)
            step(f"{formatting.format_time(turn.as_of, intraday=intraday)} {turn.outcome.equity:,.0f}")
        loop.finish()
    result = {**_summary(loop, before, intraday=intraday), "notices": said}
    output.print_result(result, json, lambda: _show(result), next_step("trade"))


def _notices(
    chosen: Settings, market: ReplayMarket, registry: Registry, strategy: Strategy, controlled: str | None
) -> list[str]:
    """Return what is to be known before the first bar, one line each."""
    from cli import notices
    from loop import workspace

    said = notices.book_notices(chosen, workspace.workspace_source(chosen), len(market.past.symbols))
    champion = registry.rollout(chosen.serving.model)
    if champion is not None:
        card = registry.card(chosen.serving.model, champion.champion)
        said += filter(None, [notices.strategy_notice(card, champion.champion, strategy)])
    if controlled:
        said.append(f"rollout and drift are judged by {controlled}, which runs `alphaloop control run`")
    return said


def _days_of(replay: str, calendar: str) -> tuple[datetime, datetime] | None:
    """Parse `FROM:TO` into its first and last moment; None for an empty text.

    Raises `InputError` for any other text.
    """
    if not replay:
        return None
    return split_days(replay, calendar)


def _market(settings: Settings, replay: str) -> ReplayMarket:
    """Split the market into past bars and bars to trade; raises `InputError` where no bar is new."""
    from loop import workspace
    from loop.market import market_to_trade

    days = _days_of(replay, workspace.workspace_source(settings).calendar)
    return market_to_trade(settings, days, _progress(settings))


def _progress(settings: Settings) -> TradingProgress | None:
    """Read the progress of the book from the journal; None without a journal."""
    from alphaloop.clock import SystemClock
    from alphaloop.journal.opening import has_journal, open_journal
    from trading.progress import trading_progress

    if not has_journal(settings):
        return None
    with open_journal(settings, SystemClock()) as journal:
        return trading_progress(journal, STREAM)


def _show(result: dict[str, Any]) -> None:
    from cli import formatting, notices, output

    shown = {
        "refusals": notices.format_refusals(result["refused"]),
        "actions": ", ".join(result["actions"]) or "none",
        "equity": formatting.format_decimal(float(result["equity"])),
        "net_return": formatting.format_percent(result["net_return"], 2, signed=True),
    }
    listed = [name for name in result if name not in ("refused", "notices")]
    output.print_facts([(name, shown.get(name) or formatting.format_figure(result[name])) for name in listed])


def _summary(loop: Loop, before: Decimal, *, intraday: bool = False) -> dict[str, Any]:
    """Summarize the session; returns start from the equity `before` its first bar.

    First and last bar are given by their day, or by their time where bars are shorter than a day.
    """
    from cli.notices import count_by_rule
    from trading.backtest import performance_metrics

    turns, latencies = loop.turns, loop.forecaster.latencies_ms
    curve = [float(before), *(float(turn.outcome.equity) for turn in turns)]
    refused = count_by_rule(refusal for turn in turns for refusal in turn.outcome.refusals)
    return {
        "first": turns[0].as_of if intraday else turns[0].as_of.date(),
        "last": turns[-1].as_of if intraday else turns[-1].as_of.date(),
        "bars": len(turns),
        "orders": sum(len(turn.outcome.orders) for turn in turns),
        "fills": sum(len(turn.outcome.fills) for turn in turns),
        "refusals": sum(refused.values()),
        "refused": refused,
        "actions": [action.words for turn in turns for action in turn.outcome.actions],
        "equity": turns[-1].outcome.equity,
        "net_return": performance_metrics(curve).net_return,
        "predictions": len(latencies),
        "errors": loop.forecaster.errors,
        "last_order": next(
            (turn.outcome.orders[-1].client_order_id for turn in reversed(turns) if turn.outcome.orders), None
        ),
    }
