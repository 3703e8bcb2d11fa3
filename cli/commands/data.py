"""`alphaloop data`: list sources of market data, show their bars, check them, stream and prune them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands import data_check, data_records, data_stream
from cli.commands.options import AsJson, Symbols, parse_time, split_symbols

if TYPE_CHECKING:
    from marketdata.source import Source
    from marketdata.sources.registry import SourceFamily

app = typer.Typer(help="Market data: sources, their bars, and their quality.", no_args_is_help=True)

SourceName = Annotated[str, typer.Argument(help="A source or a file; by default that of the settings.")]
DataFile = Annotated[Path | None, typer.Option("--file", help="A CSV or Parquet file instead of a source.")]
FILE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
From = Annotated[str, typer.Option("--from", help="First day, as 2019-01-31.")]
To = Annotated[str, typer.Option("--to", help="Last day.")]
PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy",
        help="Consequence of a rule's findings, as unique=repair,outlier=quarantine; one of reject, "
        "quarantine, repair and report. By default that of data.quality, else errors reject and warnings "
        "are reported.",
    ),
]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="data")


@app.command("list")
def list_sources(json: AsJson = False) -> None:
    """List the sources of market data."""
    from cli import output
    from cli.next_steps import next_step
    from marketdata.sources import registry

    sources = [_described(registry.find_source(name)) for name in registry.source_names()]
    sources += [_family(prefix, family) for prefix, family in sorted(registry.source_families().items())]
    heads = ("source", "symbols", "calendar", "prices", "description")
    rows = [[str(one[head]) for head in heads] for one in sources]
    output.print_result(
        sources,
        json,
        lambda: output.print_table(heads, rows, numbers=("symbols",)),
        next_step("data list"),
    )


@app.command()
def show(
    source: SourceName = "",
    file: DataFile = None,
    symbols: Symbols = "",
    from_: From = "",
    to: To = "",
    json: AsJson = False,
) -> None:
    """Show the bars of a source by symbol: their number, first and last day, and prices."""
    from cli import output
    from cli.next_steps import next_step

    chosen, table = _history(source, file, symbols, from_, to)
    found = [_summary(symbol, table, chosen.calendar) for symbol in sorted(set(table["symbol"].to_pylist()))]
    heads = ("symbol", "bars", "first", "last", "first_close", "last_close")
    rows = [[str(one[head]) for head in heads] for one in found]
    payload = {**_described(chosen), "rows": table.num_rows, "bars": found}
    named = source or file
    output.print_result(
        payload,
        json,
        lambda: output.print_table(heads, rows, numbers=(heads[1], *heads[4:])),
        next_step("data show named", source=named) if named else next_step("data show"),
    )


@app.command()
def check(
    source: SourceName = "",
    file: DataFile = None,
    symbols: Symbols = "",
    from_: From = "",
    to: To = "",
    policy: PolicyOption = "",
    live: Annotated[
        bool, typer.Option("--live", help="Also compare the last bars with this machine's clock.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check bars by every rule, and show the consequence of each finding.

    Rules: schema, order, duplicates, prices, missing values, calendar and gaps, stuck prices, outliers,
    unrecorded splits, zero volume, disputed bars; with --live stale feeds and bars from the future.
    Policies and thresholds are those of the settings (data.quality, data.thresholds), overridden by --policy.
    More than a hundred findings are summed up by rule and day; --json has all. Exits with 2 where a finding
    rejects the bars, as it would when they are stored.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.errors import DataError
    from cli import output
    from cli.next_steps import next_step

    policies, thresholds = data_check.parse_policies(policy)
    chosen, table = _history(source, file, symbols, from_, to)
    now = SystemClock().now() if live else None
    payload, refusal = data_check.apply_rules(chosen, table, policies, thresholds, now)

    def show_findings() -> None:
        data_check.print_findings(payload["findings"])
        if refusal:
            raise DataError(refusal)
        output.print_line(
            f"{chosen.name}: {table.num_rows:,} rows, {data_check.format_check_outcome(payload)}"
        )

    # Bars of another source than that of the settings are not what is built next.
    output.print_result(payload, json, show_findings, "" if source or file else next_step("data check"))
    if refusal:
        raise typer.Exit(2)


app.command()(data_stream.stream)
app.command()(data_records.universe)
app.command()(data_records.actions)


@app.command()
def prune(
    keep_days: Annotated[
        float | None, typer.Option(help="Keep snapshots stored within this number of days.")
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option(help="Keep this number of each source's newest snapshots.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed; remove nothing.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Remove old snapshots.

    The newest snapshots of each source stay, and so does every snapshot that a model version or the journal
    names, with the snapshots it was built on.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.settings import settings
    from cli import output
    from loop.referenced_snapshots import referenced_snapshot_ids
    from marketdata.storage import retention
    from marketdata.storage.snapshots import SnapshotStore

    chosen = settings.load_settings()
    removed = retention.prune_snapshots(
        SnapshotStore(chosen.locations.snapshots),
        SystemClock().now(),
        keep_days=keep_days if keep_days is not None else chosen.data.keep_days or None,
        keep_last=keep_last if keep_last is not None else chosen.data.keep_snapshots or None,
        keep=referenced_snapshot_ids(chosen),
        dry_run=dry_run,
    )
    verb = "would be removed" if dry_run else "removed"
    payload = {"removed": removed, "dry_run": dry_run}
    output.print_result(payload, json, lambda: output.print_line(f"{len(removed)} snapshots {verb}"))


def _history(source: str, file: Path | None, symbols: str, first: str, last: str) -> tuple[Source, Any]:
    """Read the bars of the named source or file; returns both."""
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from loop.workspace import workspace_source
    from marketdata.configured_source import chosen_start
    from marketdata.source import require_symbols
    from marketdata.sources import registry

    if source and file is not None:
        raise InputError(f"source '{source}' and --file {file} are both given; leave one out")
    if source.endswith(FILE_SUFFIXES) and ":" not in source:
        file = Path(source)
    if file is not None:
        from marketdata.files.file_source import FileSource

        chosen: Source = FileSource(file)
    elif source and Path(source).is_dir():
        raise InputError(f"'{source}' is a folder; write folder:{source}")
    else:
        chosen = registry.find_source(source) if source else workspace_source(settings.load_settings())
    chosen_symbols, start = split_symbols(symbols, chosen), None
    if not source and file is None:
        # The same symbols and first day as in `features build`.
        chosen_symbols, start = (
            chosen_symbols or settings.load_settings().data.symbols,
            chosen_start(settings.load_settings()),
        )
    start = parse_time(first, "--from", chosen.calendar) if first else start
    end = parse_time(last, "--to", chosen.calendar, end_of_day=True) if last else None
    if first and start and end and start > end:
        raise InputError(f"--from '{first}' is after --to '{last}'; exchange them")
    return chosen, chosen.history(require_symbols(chosen, chosen_symbols), start, end)


def _described(source: Source) -> dict[str, Any]:
    return {
        "source": source.name,
        "symbols": len(source.symbols()) or "any",
        "calendar": source.calendar,
        "prices": "adjusted only" if source.adjusted_only else "as traded",
        "description": source.description,
    }


def _family(prefix: str, family: SourceFamily) -> dict[str, Any]:
    """Describe a family of sources as a row; empty where members differ."""
    return {
        "source": f"{prefix}:…",
        "symbols": "any",
        "calendar": "",
        "prices": "",
        "description": family.description,
    }


def _summary(symbol: str, table: Any, calendar: str) -> dict[str, Any]:
    import pyarrow.compute as pc

    from marketdata.calendars import days_of

    rows = table.filter(pc.equal(table["symbol"], symbol)).sort_by("timestamp")
    days = days_of(rows["timestamp"].to_numpy(), calendar).tolist()
    return {
        "symbol": symbol,
        "bars": rows.num_rows,
        "first": days[0],
        "last": days[-1],
        "first_close": _rounded(rows["close"][0].as_py()),
        "last_close": _rounded(rows["close"][-1].as_py()),
    }


def _rounded(price: float | None) -> float | None:
    """Round to four decimals, and below 1 to six significant digits, so that a tiny price is not 0."""
    if price is None:
        return None
    return round(price, 4) if abs(price) >= 1 else float(f"{price:.6g}")
