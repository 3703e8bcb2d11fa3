"""Replay of a market through the loop, bar by bar."""

from __future__ import annotations

from dataclasses import dataclass

from cli.demo.progress import ProgressDisplay
from cli.demo.scheduler import RolloutScheduler
from loop.turn import ReplayMarket


@dataclass(slots=True)
class ReplayResult:
    """Result of a replay: the market of one universe and the scheduler after its last bar."""

    market: ReplayMarket
    scheduler: RolloutScheduler


def run_replay(
    scheduler: RolloutScheduler, market: ReplayMarket, screen: ProgressDisplay, *, until_decided: bool = False
) -> None:
    """Run the loop over all future bars, or only until the first rollout has ended."""
    loop = scheduler.loop
    task = screen.track(f"bars of {market.source}", total=len(market.future))
    for bars in market.future.slices():
        turn = loop.turn(bars)
        scheduler.after(turn)
        document = loop.controller.document
        screen.figure("bar", f"{bars.timestamp.date()}")
        screen.figure("equity", f"{turn.outcome.equity:,.0f} USD")
        screen.figure(
            "rollout",
            f"{document.state}: champion v{document.champion}"
            + (
                f", challenger v{document.challenger} at {document.weight:.0%}" if document.challenger else ""
            ),
        )
        screen.figure("predictions", f"{len(loop.forecaster.latencies_ms):,} over gRPC")
        screen.advance(task)
        if until_decided and scheduler.finished:
            break
    scheduler.after(loop.finish())
