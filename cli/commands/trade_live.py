"""`alphaloop trade --live`: trade on the bars that `alphaloop features stream` stores, as a daemon."""

from __future__ import annotations

IDLE_SECONDS = 0.02


def trade_live(broker: str, wait: float, port: int) -> None:
    """Trade each bar that the streamer stores, until SIGTERM or Ctrl-C; a second instance is a standby.

    Raises `UnknownNameError` for a broker that does not exist, and `MissingStateError` where no server
    answers within `wait` seconds.
    """
    from alphaloop.journal.opening import open_journal
    from alphaloop.journal.roles import executor_role
    from alphaloop.journal.streams import TRADING_STREAM
    from cli import output, server_wait
    from loop import workspace
    from loop.daemons.bar_clock import BarClock
    from loop.daemons.daemon_wiring import opened_executor
    from loop.daemons.frame import DaemonPages, run_daemon
    from trading.broker import find_broker
    from trading.strategy import configured_strategy

    chosen = workspace.writable_settings()
    find_broker(broker)
    configured_strategy(chosen.trading)
    registry = workspace.open_registry(chosen)
    server_wait.require_server(chosen, wait)
    clock = BarClock()
    with open_journal(chosen, clock) as journal:
        run_daemon(
            journal,
            executor_role(TRADING_STREAM),
            lambda role: opened_executor(chosen, journal, registry, role, clock, broker),
            pages=DaemonPages(port=port),
            idle_seconds=IDLE_SECONDS,
            announce=output.print_line,
        )
    output.print_error("ended; the role was given back")


def require_live_options(*, live: bool, replay: str, lockstep: bool, port: int) -> None:
    """Raise `InputError` for options of a replay with --live, and for those of a daemon without it."""
    from alphaloop.errors import InputError

    if live and (replay or lockstep):
        given = f"--replay {replay}" if replay else "--lockstep"
        raise InputError(
            f"--live follows the streamer, which has the replay: alphaloop features stream {given}"
        )
    if port and not live:
        raise InputError(f"--port {port} is for the daemon; add --live, or leave it out")
