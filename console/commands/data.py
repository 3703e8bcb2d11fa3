"""`alphaloop data`: which market data there is, what it holds, and whether it can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.commands.options import AsJson, Symbols, moment, names

if TYPE_CHECKING:
    from features.source import Source

app = typer.Typer(help="Market data: sources, their bars, and their quality.", no_args_is_help=True)

SourceName = Annotated[str, typer.Argument(help="A source or a file; by default that of the settings.")]
DataFile = Annotated[Path | None, typer.Option("--file", help="A CSV or Parquet file instead of a source.")]
FILE_SUFFIXES = (".csv", ".parquet")
From = Annotated[str, typer.Option("--from", help="First day, as 2019-01-31.")]
To = Annotated[str, typer.Option("--to", help="Last day.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="data")


@app.command("list")
def list_sources(json: AsJson = False) -> None:
    """List the sources of market data."""
    from console import output
    from features.sources import registry

    found = [_described(registry.find(name)) for name in registry.names()]
    heads = ("source", "symbols", "calendar", "prices", "description")
    rows = [[str(one[head]) for head in heads] for one in found]
    output.answer(found, json, lambda: output.table(heads, rows, numbers=("symbols",)))


@app.command()
def show(
    source: SourceName = "",
    file: DataFile = None,
    symbols: Symbols = "",
    from_: From = "",
    to: To = "",
    json: AsJson = False,
) -> None:
    """Show what a source holds: bars, first and last day, and prices, symbol by symbol."""
    from console import output

    chosen, table = _history(source, file, symbols, from_, to)
    found = [_summary(symbol, table) for symbol in sorted(set(table["symbol"].to_pylist()))]
    heads = ("symbol", "bars", "first", "last", "first_close", "last_close")
    rows = [[str(one[head]) for head in heads] for one in found]
    payload = {**_described(chosen), "rows": table.num_rows, "bars": found}
    output.answer(payload, json, lambda: output.table(heads, rows, numbers=(heads[1], *heads[4:])))


@app.command()
def check(
    source: SourceName = "", file: DataFile = None, symbols: Symbols = "", json: AsJson = False
) -> None:
    """Check schema, order, duplicates, prices, runs of missing values and gaps against the calendar."""
    from console import output
    from features import quality

    chosen, table = _history(source, file, symbols, "", "")
    findings = quality.check(table, chosen.calendar)
    payload = {"source": chosen.name, "rows": table.num_rows, "findings": findings}

    def show_findings() -> None:
        quality.require_clean(table, chosen.calendar, chosen.name)
        heads = ("rule", "symbol", "timestamp", "value", "severity")
        if findings:
            output.table(heads, [[str(getattr(one, head)) for head in heads] for one in findings])
        output.say(f"{chosen.name}: {table.num_rows:,} rows, nothing wrong")

    output.answer(payload, json, show_findings)
    if json and any(one.severity == "error" for one in findings):
        raise typer.Exit(2)


def _history(source: str, file: Path | None, symbols: str, first: str, last: str) -> tuple[Source, Any]:
    """The source or file that was asked for, and its bars."""
    from alphaloop import settings
    from features.source import require_symbols
    from features.sources import registry

    if Path(source).suffix in FILE_SUFFIXES:
        file = Path(source)
    if file is not None:
        from features.files import FileSource

        chosen: Source = FileSource(file)
    else:
        chosen = registry.find(source or settings.load().data.source)
    start = moment(first, "--from") if first else None
    end = moment(last, "--to", end_of_day=True) if last else None
    return chosen, chosen.history(require_symbols(chosen, names(symbols)), start, end)


def _described(source: Source) -> dict[str, Any]:
    return {
        "source": source.name,
        "symbols": len(source.symbols()) or "any",
        "calendar": source.calendar,
        "prices": "adjusted only" if source.adjusted_only else "as traded",
        "description": source.description,
    }


def _summary(symbol: str, table: Any) -> dict[str, Any]:
    import pyarrow.compute as pc

    rows = table.filter(pc.equal(table["symbol"], symbol)).sort_by("timestamp")
    days = rows["timestamp"].cast("date32").to_pylist()
    return {
        "symbol": symbol,
        "bars": rows.num_rows,
        "first": days[0],
        "last": days[-1],
        "first_close": round(rows["close"][0].as_py(), 4),
        "last_close": round(rows["close"][-1].as_py(), 4),
    }
