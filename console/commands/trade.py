"""`alphaloop trade`: bars one after the other through features, server, risk and broker, into the journal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.commands.options import AsJson, moment

if TYPE_CHECKING:
    from alphaloop.settings import Settings
    from console.loop import Loop, Market

DEFAULT_WAIT_SECONDS = 60.0
Broker = Annotated[str, typer.Option(help="Where orders go.")]
Replay = Annotated[
    str, typer.Option(help="FROM:TO, two days; by default all bars that are new to this workspace.")
]

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for a server that is still starting.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(trade)


def trade(
    broker: Broker = "paper", replay: Replay = "", wait: Wait = DEFAULT_WAIT_SECONDS, json: AsJson = False
) -> None:
    """Trade on the running server's forecasts, bar by bar, and journal every decision."""
    from alphaloop import settings
    from alphaloop.clock import ReplayClock
    from alphaloop.journal.store import Journal
    from alphaloop.market import to_datetime
    from console import output, workspace
    from console.world import World, open_loop
    from trading.broker import find
    from trading.recovery import restore

    chosen = settings.load()
    find(broker)
    _days_of(replay)  # a malformed one is refused before anything is read
    registry = workspace.open_registry(chosen)
    workspace.require_server(chosen, wait)
    market = _market(chosen, replay)
    clock = ReplayClock(to_datetime(market.past.timestamps[-1]))
    journal = Journal(chosen.paths.journal, chosen.paths.anchors, clock)
    world = World(chosen, clock, journal, registry)
    with (
        open_loop(world, market, stream="trading", watched=False, broker=broker) as loop,
        output.progress_bar("trading", len(market.future)) as step,
    ):
        # Books and open orders go on where the journal left them.
        restore(loop.engine, journal.records("trading"), market.past)
        for bars in market.future.slices():
            turn = loop.turn(bars)
            step(f"{turn.as_of.date()} {turn.outcome.equity:,.0f}")
        loop.finish()
    told = _summary(loop)
    output.answer(told, json, lambda: output.facts([(name, str(value)) for name, value in told.items()]))


def _days_of(replay: str) -> tuple[datetime, datetime] | None:
    """The first and the last moment of `FROM:TO`, None for an empty text; `InputError` for anything else."""
    from alphaloop.errors import InputError

    if not replay:
        return None
    first_day, sign, last_day = replay.partition(":")
    if not (sign and first_day and last_day):
        raise InputError(f"--replay '{replay}' is not of the form FROM:TO, as 2019-01-02:2019-03-29")
    first, last = moment(first_day, "--replay"), moment(last_day, "--replay", end_of_day=True)
    if first > last:
        raise InputError(f"--replay '{replay}' ends before it begins; write the earlier day first")
    return first, last


def _market(settings: Settings, replay: str) -> Market:
    """What this workspace knows, and the bars to come; `InputError` where it knows those already."""
    import numpy as np

    from alphaloop.errors import InputError
    from alphaloop.market import to_datetime, to_datetime64
    from console import workspace
    from console.loop import Market
    from features.storage.incremental import missing
    from features.storage.snapshots import SnapshotStore

    days = _days_of(replay)
    snapshot, known = workspace.latest_bars(settings)
    first, until = days or (snapshot.last, None)
    if days and first <= snapshot.last:
        raise InputError(
            f"--replay from {first.date()} begins before {snapshot.last.date()}, up to which this workspace "
            "knows the market; in a fresh one (ALPHALOOP_HOME), `alphaloop features build --until` the day "
            "before, and train there"
        )
    bars = workspace.bars_to(settings, snapshot, until)
    begin = int(np.searchsorted(bars.timestamps, known.timestamps[-1], "right"))
    begin = max(begin, int(np.searchsorted(bars.timestamps, to_datetime64(first), "left")))
    if begin >= len(bars):
        raise InputError(
            f"no bar is new: source and workspace reach to {snapshot.last.date()}; --replay names days"
        )
    past, future = (
        bars.between(end=to_datetime(bars.timestamps[begin - 1])),
        bars.between(start=to_datetime(bars.timestamps[begin])),
    )
    store = SnapshotStore(settings.paths.snapshots)
    lacking = missing(store.load(snapshot.id), past.to_table())
    if lacking.num_rows:
        snapshot = store.append(snapshot.id, lacking)
    return Market(settings.data.source, past, future, snapshot)


def _summary(loop: Loop) -> dict[str, Any]:
    """What the session did."""
    from trading.backtest import metrics

    turns, latencies = loop.turns, loop.forecaster.latencies_ms
    curve = [float(turn.outcome.equity) for turn in turns]
    return {
        "first": turns[0].as_of.date(),
        "last": turns[-1].as_of.date(),
        "bars": len(turns),
        "orders": sum(len(turn.outcome.orders) for turn in turns),
        "fills": sum(len(turn.outcome.fills) for turn in turns),
        "refusals": sum(len(turn.outcome.refusals) for turn in turns),
        "equity": turns[-1].outcome.equity,
        "net_return": metrics(curve).net_return if len(curve) > 1 else 0.0,
        "predictions": len(latencies),
        "errors": loop.forecaster.errors,
        "last_order": next(
            (turn.outcome.orders[-1].client_order_id for turn in reversed(turns) if turn.outcome.orders), None
        ),
    }
