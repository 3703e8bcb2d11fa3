"""`alphaloop predict`: request scores from the running server."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import AsJson, Model, Symbols, parse_time, split_symbols

AsOf = Annotated[str, typer.Option(help="The bar, as 2020-03-16; the newest known by default.")]
Sleeve = Annotated[str, typer.Option(help="The sleeve of capital, which decides the route.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    symbols: Symbols = "",
    as_of: AsOf = "",
    model: Model = "",
    sleeve: Sleeve = "sleeve-00",
    json: AsJson = False,
) -> None:
    """Request the scores of symbols at one bar from the running server."""
    from alphaloop.errors import InputError, ServingError
    from alphaloop.settings import settings
    from cli import formatting, output, server_wait
    from cli.next_steps import next_step
    from loop import workspace
    from marketdata.source import require_symbols
    from serving.client.client import PredictionClient

    chosen = settings.load_settings()
    source = workspace.workspace_source(chosen)
    requested = require_symbols(source, split_symbols(symbols, source) or chosen.data.symbols)
    snapshot, bars = workspace.latest_bars(chosen)
    end = parse_time(as_of, "--as-of", bars.calendar, end_of_day=True) if as_of else None
    at = bars.between(end=end)
    if not len(at):
        raise InputError(f"--as-of {as_of} is before the first bar, which is of {snapshot.first.date()}")
    server_wait.require_server(chosen)
    client = PredictionClient.from_settings(chosen, model)
    try:
        forecast = client.forecast(requested, at.at(len(at) - 1).timestamp, sleeve)
    except ServingError as error:
        raise InputError(
            f"{error}; `alphaloop serve` starts a server, `alphaloop features materialize` fills it"
        ) from error
    finally:
        client.close()

    intraday = formatting.are_intraday(bars.timestamps)

    def show() -> None:
        ranked = sorted(zip(forecast.symbols, forecast.scores, forecast.statuses, strict=True), key=_by_score)
        rows = [
            [symbol, formatting.format_decimal(score, 4), status.value] for symbol, score, status in ranked
        ]
        output.print_table(("symbol", "score", "status"), rows, numbers=("score",))
        output.print_line(
            f"{forecast.model} version {forecast.version} ({forecast.route}) at "
            f"{formatting.format_time(forecast.as_of, intraday=intraday)}, "
            f"prediction {forecast.prediction_id}"
        )

    output.print_result(forecast, json, show, next_step("predict"))


def _by_score(row: tuple[str, float, object]) -> tuple[bool, float]:
    return row[1] != row[1], -row[1]
