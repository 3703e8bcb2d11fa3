"""`alphaloop predictions`: keep the prediction log small."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.options import AsJson

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings

app = typer.Typer(help="The prediction log: its files.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="predictions")


@app.command()
def compact(
    keep_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Remove rows logged before this number of days; by default serving.log_retention_days.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be done; change nothing.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Merge the files of each past day into one, and remove days that are kept no longer.

    Servers do the same once an hour where they may; this is for a schedule, and for a log whose servers are
    gone. Rows since the start of a rollout under way stay, whatever the limit is. A file that cannot be read
    is named and left where it is.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.settings import settings
    from cli import output
    from serving.log.compaction import compact_log, log_partitions

    chosen = settings.load_settings()
    days = chosen.serving.log_retention_days if keep_days is None else keep_days
    today = SystemClock().now().date()
    limit = today - timedelta(days=days) if days else date.min
    models: dict[str, Any] = {}
    for partition in log_partitions(chosen.locations.prediction_log):
        folder = partition.rpartition("/")[2]
        oldest = limit if limit == date.min else min(limit, _first_needed(chosen, folder) or limit)
        report = compact_log(partition, today, oldest, dry_run=dry_run)
        models[folder.removeprefix("model=")] = {
            "merged": report.merged,
            "removed": report.removed,
            "superseded": report.superseded,
            "busy": report.busy,
        }

    def show() -> None:
        verb = "would be " if dry_run else ""
        for model, done in models.items():
            if done["busy"]:
                output.print_line(f"{model}: another process compacts its log; nothing to do")
                continue
            output.print_line(
                f"{model}: {done['merged']} files {verb}merged, {done['removed']} {verb}removed, "
                f"{done['superseded']} leftovers {verb}removed"
            )
        if not models:
            output.print_line(f"no prediction is logged in {chosen.locations.prediction_log}; nothing to do")

    output.print_result({"models": models, "dry_run": dry_run}, json, show)


def _first_needed(settings: Settings, folder: str) -> date | None:
    """Return the day on which the model's rollout under way began; None where there is none."""
    from datetime import datetime
    from urllib.parse import unquote

    from models.registry.configured_registry import configured_registry, has_registry

    if not has_registry(settings):
        return None
    document = configured_registry(settings).rollout(unquote(folder.removeprefix("model=")))
    if document is None or document.challenger is None or document.started is None:
        return None
    return datetime.fromisoformat(document.started).date()
