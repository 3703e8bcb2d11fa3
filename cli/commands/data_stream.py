"""`alphaloop data stream`: print bars as they close, live or replayed, from one or several sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.options import AsJson, Symbols, parse_time, split_names, split_symbols

if TYPE_CHECKING:
    from alphaloop.bars import Slice
    from alphaloop.clock import Clock
    from alphaloop.settings.settings import Settings
    from marketdata.source import LiveSource

Providers = Annotated[str, typer.Option(help="Sources in order of preference; data.providers by default.")]
Frequency = Annotated[str, typer.Option(help="The length of a bar: 1m, 5m, 15m, 1h, 4h, 1d or 1w.")]
Replay = Annotated[str, typer.Option(help="Days to replay as if they were live, as 2019-01-02:2019-03-29.")]
Speed = Annotated[
    float, typer.Option(min=0, help="Speed of a replay as a multiple of real time; 0 is at once.")
]
Bars = Annotated[
    int, typer.Option(min=0, help="End after this number of timestamps; 0 goes on until Ctrl-C.")
]


def stream(
    symbols: Symbols = "",
    providers: Providers = "",
    frequency: Frequency = "1m",
    replay: Replay = "",
    speed: Speed = 0,
    bars: Bars = 0,
    json: AsJson = False,
) -> None:
    """Print bars as they close, with the provider of each and the disputed ones marked.

    Several providers form one feed: the first healthy one is used, and a switch takes one bar at most.
    """
    from alphaloop.settings import settings
    from cli import output
    from marketdata.configured_records import configured_records
    from marketdata.feeds.assembler import LiveSlices, SliceAssembler
    from marketdata.point_in_time.point_in_time_source import PointInTimeSource
    from marketdata.source import require_symbols

    chosen = settings.load_settings()
    if providers:
        chosen = chosen.model_copy(
            update={"data": chosen.data.model_copy(update={"providers": split_names(providers)})}
        )
    source, clock = (
        _replayed(chosen, replay, providers, speed, frequency) if replay else _live(chosen, frequency)
    )
    records = configured_records(chosen.data)
    everything = PointInTimeSource(source, records) if records.universe else source
    chosen_symbols = split_symbols(symbols, source) or chosen.data.symbols or require_symbols(everything, ())
    assembler = SliceAssembler(
        source, chosen_symbols, frequency, clock=clock, annotate=records.annotate_slice
    )
    printed = 0
    try:
        with LiveSlices(assembler) as slices:
            for bar in slices:
                for row in _rows(bar):
                    output.print_result(row, json, lambda row=row: output.print_line(_line(row)))  # type: ignore[misc]
                printed += 1
                if bars and printed >= bars:
                    break
    finally:
        # Ctrl-C is how a stream usually ends.
        for switch in getattr(source, "switches", ()):
            output.print_error(
                f"switched from {switch.left} to {switch.taken} at {switch.at}: {switch.reason}"
            )


def _live(chosen: Settings, frequency: str) -> tuple[LiveSource, Clock]:
    from alphaloop.clock import SystemClock
    from loop import workspace

    return workspace.live_source(chosen, frequency), SystemClock()


def _replayed(
    chosen: Settings, replay: str, providers: str, speed: float, frequency: str
) -> tuple[LiveSource, Clock]:
    from datetime import timedelta

    from alphaloop.clock import ReplayClock
    from alphaloop.errors import InputError
    from marketdata.feeds.replay_source import ReplaySource
    from marketdata.sources import registry

    if providers:
        raise InputError(
            f"--replay gives the bars of data.source, and --providers are {providers}; leave one out"
        )
    first, colon, last = replay.partition(":")
    if not (colon and first and last):
        raise InputError(f"--replay '{replay}' is not of the form FROM:TO, as 2019-01-02:2019-03-29")
    past = registry.find_source(chosen.data.source)
    start = parse_time(first, "--replay", past.calendar)
    end = parse_time(last, "--replay", past.calendar, end_of_day=True)
    clock = ReplayClock(start - timedelta(microseconds=1))
    source = ReplaySource.of_source(
        past, chosen.data.symbols, clock,
        start=start, end=end, frequency=frequency, speed=speed or math.inf,
    )  # fmt: skip
    return source, clock


def _rows(bars: Slice) -> list[dict[str, Any]]:
    """Build one row for each symbol that has a bar."""
    rows = []
    for index, symbol in enumerate(bars.symbols):
        if math.isfinite(bars.close[index]):
            prices = {
                name: float(getattr(bars, name)[index]) for name in ("open", "high", "low", "close", "volume")
            }
            rows.append(
                {
                    "timestamp": bars.timestamp,
                    "symbol": symbol,
                    **prices,
                    "provider": bars.providers[index] if bars.providers else "",
                    "disputed": symbol in bars.disputed,
                    **{name: float(values[index]) for name, values in bars.extra.items()},
                }
            )
    return rows


def _line(row: dict[str, Any]) -> str:
    prices = "  ".join(
        f"{name} {row[name]:,.6g}" for name in ("open", "high", "low", "close", "volume")
        if math.isfinite(row[name])
    )  # fmt: skip
    from alphaloop.universe_mask import MEMBER_COLUMN

    mark = "  DISPUTED" if row["disputed"] else ""
    mark += "  not a member" if row.get(MEMBER_COLUMN) == 0.0 else ""
    return f"{row['timestamp'].isoformat()}  {row['symbol']:<12} {prices}  {row['provider']}{mark}"
