"""`alphaloop data universe` and `data actions`: the records that the settings attach to bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.options import AsJson, Symbols, parse_time, split_names

if TYPE_CHECKING:
    from marketdata.point_in_time.point_in_time_source import PointInTimeSource
    from marketdata.point_in_time.universe import Universe

AsOf = Annotated[str, typer.Option("--as-of", help="Day, as 2019-01-31; now by default.")]


def universe(as_of: AsOf = "", json: AsJson = False) -> None:
    """Show the members of the universe at a day, as they were known then.

    The universe is the file of data.universe. Names the members that the source has no bars of, because
    results without those that failed are flattered.
    """
    from alphaloop.clock import SystemClock
    from cli import output
    from cli.next_steps import next_step

    source, chosen = _source_with_universe()
    records = source.records
    moment = parse_time(as_of, "--as-of", source.calendar, end_of_day=True) if as_of else SystemClock().now()
    members = chosen.members(moment)
    sectors = _sectors(source, members, moment)
    payload: dict[str, Any] = {
        "group": chosen.name,
        "digest": records.digests["universe"],
        "as_of": moment,
        "members": [
            {"symbol": symbol, "sector": sector} for symbol, sector in zip(members, sectors, strict=True)
        ],
        "ever": len(chosen.symbols()),
        "missing": source.missing(),
    }

    def show() -> None:
        heads = ("symbol", "sector") if records.sectors else ("symbol",)
        output.print_table(heads, [[row[head] for head in heads] for row in payload["members"]])
        output.print_line(
            f"{payload['group']}: {len(members)} members as known at {moment.isoformat()}, of "
            f"{payload['ever']} that ever were; file {payload['digest'][:12]}"
        )
        if payload["missing"]:
            output.print_line(
                f"[yellow]no bars in '{source.base.name}'[/] of {', '.join(payload['missing'])}"
            )

    output.print_result(payload, json, show, next_step("data universe"))


def actions(symbols: Symbols = "", as_of: AsOf = "", json: AsJson = False) -> None:
    """Show the corporate actions of data.actions, and from when each counts.

    An action counts from the first bar at which it was both effective and published. Copies and replaced
    publications are left out.
    """
    from alphaloop.clock import SystemClock, as_utc
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from marketdata.configured_records import configured_records
    from marketdata.configured_source import chosen_source
    from marketdata.point_in_time.corporate_actions import actions_known_at

    chosen = settings.load_settings()
    records = configured_records(chosen.data)
    if "actions" not in records.digests:
        raise InputError(
            'data.actions names no file; set it, as actions = "actions.csv" below [data] in alphaloop.toml'
        )
    calendar = chosen_source(chosen).calendar
    moment = parse_time(as_of, "--as-of", calendar, end_of_day=True) if as_of else SystemClock().now()
    named = split_names(symbols)
    rows = [
        {
            "symbol": action.symbol,
            "kind": action.kind,
            "ex_date": action.ex_date,
            "value": action.value,
            "published": action.published,
            "counts_from": max(action.effective, as_utc(action.published)),
            "late": as_utc(action.published) > action.effective,
        }
        for action in actions_known_at(records.actions, moment)
        if not named or action.symbol in named
    ]
    payload = {"digest": records.digests["actions"], "as_of": moment, "actions": rows}

    def show() -> None:
        heads = ("symbol", "kind", "ex_date", "value", "published", "counts_from")
        output.print_table(heads, [[str(row[head]) for head in heads] for row in rows], numbers=("value",))
        late = sum(bool(row["late"]) for row in rows)
        output.print_line(f"{len(rows)} actions, {late} of them published late; file {payload['digest']:.12}")

    output.print_result(payload, json, show, next_step("data actions"))


def _source_with_universe() -> tuple[PointInTimeSource, Universe]:
    """Return the settings' source and universe; raises `InputError` without a universe."""
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from loop.workspace import workspace_source
    from marketdata.point_in_time.point_in_time_source import PointInTimeSource

    source = workspace_source(settings.load_settings())
    if not isinstance(source, PointInTimeSource) or source.records.universe is None:
        raise InputError(
            'data.universe names no file; set it, as universe = "members.csv" below [data] in alphaloop.toml'
        )
    return source, source.records.universe


def _sectors(source: PointInTimeSource, members: tuple[str, ...], moment: Any) -> list[str]:
    """Return the sector of each member at `moment`; empty where it has none."""
    import numpy as np

    from alphaloop.bars import to_datetime64

    sectors = source.records.sectors
    if sectors is None or not members:
        return [""] * len(members)
    codes = sectors.codes(np.array([to_datetime64(moment)]), members)[0]
    names = sectors.groups()
    return [names[int(code)] if np.isfinite(code) else "" for code in codes.tolist()]
