"""`alphaloop features`: list definitions, fill the offline and online stores, check their parity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands import features_select, features_stream
from cli.commands.options import AsJson, parse_time

app = typer.Typer(help="Features: definitions, offline and online store, parity.", no_args_is_help=True)

Until = Annotated[str, typer.Option(help="Last day to read; later bars can be traded with --replay.")]
InUse = Annotated[bool, typer.Option("--in-use", help="Only the set of the settings.")]
Word = Annotated[str, typer.Argument(help="Only indicators with this in name, group or description.")]
Whole = Annotated[
    bool, typer.Option("--catalogue", help="Use every feature of the catalogue that these bars allow.")
]
Folder = Annotated[Path | None, typer.Option(help="Where to write it; by default beside the store.")]
Bars = Annotated[int, typer.Option(min=1, help="Number of last bars to compare.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    features_select.register(app)
    features_stream.register(app)
    parent.add_typer(app, name="features")


@app.command("list")
def list_features(word: Word = "", in_use: InUse = False, json: AsJson = False) -> None:
    """List every feature by name: inputs, parameters, outputs, lookback and exactness of its stream."""
    from alphaloop.settings import settings
    from cli import output
    from cli.commands import features_view
    from cli.next_steps import next_step
    from features.feature_set import feature_set_of

    chosen = feature_set_of(settings.load_settings())
    rows = [features_view.feature_row(one) for one in chosen.features]
    catalogue = [] if in_use else features_view.indicator_rows(word)

    def show() -> None:
        features_view.show_catalogue(catalogue, described=bool(word))
        if word:
            return
        features_view.show_set(rows)
        output.print_line(f"{len(rows)} features in use, set {chosen.hash}")

    listed = {"set_hash": chosen.hash, "features": rows, "catalogue": catalogue}
    output.print_result(listed, json, show, next_step("features list"))


@app.command()
def build(until: Until = "", json: AsJson = False) -> None:
    """Read the source, check and snapshot it, compute its features and write the offline store."""
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from features.store.feature_store import FeatureStore
    from loop import workspace

    chosen = settings.load_settings()
    workspace.require_writable(chosen)
    calendar = workspace.workspace_source(chosen).calendar
    last = parse_time(until, "--until", calendar, end_of_day=True) if until else None
    with output.show_progress("building features") as tell:
        tell("reading and checking bars")
        features = feature_set_of(chosen)
        workspace.take_snapshot(chosen, last)
        snapshot, bars = workspace.latest_bars(chosen)
        tell(f"{len(features)} features over {len(bars):,} bars of {len(bars.symbols)} symbols")
        frame = backfill(bars, features)
        tell("writing the offline store")
        store = FeatureStore.from_settings(chosen)
        store.apply()
        store.write_offline(frame)
    built = {
        "snapshot": snapshot.id,
        "symbols": len(bars.symbols),
        "bars": len(bars),
        "first": snapshot.first,
        "last": snapshot.last,
        "features": len(features),
        "set_hash": features.hash,
    }
    output.print_result(
        built,
        json,
        lambda: output.print_facts([(name, str(value)) for name, value in built.items()]),
        next_step("features build"),
    )


@app.command()
def materialize(json: AsJson = False) -> None:
    """Write the windows of the newest bar to the online store, which serves predictions.

    Windows are written for the settings' feature set and for every set on which a version in a rollout was
    trained.
    """
    from alphaloop.clock import SystemClock
    from alphaloop.settings import settings
    from cli import formatting, output
    from cli.next_steps import next_step
    from features.feature_set import feature_set_of
    from features.store.streamer import Streamer
    from loop import workspace
    from models.registry.configured_registry import configured_registry, has_registry
    from models.registry.feature_sets_in_use import FeatureSetsInUse

    chosen = settings.load_settings()
    workspace.require_writable(chosen)
    with output.show_progress("materialising windows") as tell:
        snapshot, bars = workspace.latest_bars(chosen)
        last = formatting.format_time(snapshot.last, intraday=formatting.are_intraday(bars.timestamps))
        tell(f"{len(bars.symbols)} symbols at {last}")
        features, needed = feature_set_of(chosen), []
        if has_registry(chosen):
            registry = configured_registry(chosen)
            needed = FeatureSetsInUse(registry, features, bars.symbols)()
        with Streamer.from_settings(chosen, bars.symbols, bars, SystemClock(), further=needed) as streamer:
            streamer.materialize(snapshot.id)
            further = [made.feature_set for made in streamer.made[1:]]
    written = {
        "as_of": snapshot.last,
        "symbols": list(bars.symbols),
        "window": chosen.features.window,
        "snapshot": snapshot.id,
        "set_hash": features.hash,
        "further_sets": further,
    }
    besides = f", and those of {len(further)} further set{'s' * (len(further) > 1)}" if further else ""
    output.print_result(
        written,
        json,
        lambda: output.print_line(f"{len(bars.symbols)} windows of {last} are online{besides}"),
        next_step("features materialize"),
    )


@app.command()
def repo(folder: Folder = None, json: AsJson = False) -> None:
    """Write a folder for Feast's own command line: feast -c FOLDER apply, or ui."""
    from alphaloop.settings import settings
    from cli import output
    from features.store.feast import folder as repository

    path = repository.write_repository(settings.load_settings(), folder)
    output.print_result(
        {"folder": str(path)}, json, lambda: output.print_line(f"{path}; try: feast -c {path} apply")
    )


@app.command()
def parity(bars: Bars = 60, all_of_them: Whole = False, json: AsJson = False) -> None:
    """Compare backfill, stream and online store over the last bars; exit 1 if a feature differs too much."""
    import tempfile

    from alphaloop.settings import settings
    from cli import output
    from features import parity as parities
    from features.feature_set import catalogue_feature_set, feature_set_of
    from loop import workspace

    chosen = settings.load_settings()
    with (
        output.show_progress("comparing backfill, stream and online store"),
        tempfile.TemporaryDirectory() as folder,
    ):
        _, panel = workspace.latest_bars(chosen)
        features = catalogue_feature_set(panel) if all_of_them else feature_set_of(chosen)
        report = parities.measure_parity(Path(folder), panel, features, bars, chosen.features.online)

    def show() -> None:
        worst = sorted(report.by_feature.items(), key=lambda pair: -report.relative[pair[0]])
        rows = [
            [name, f"{difference:.2g}", f"{report.relative[name]:.2g}", f"{report.promised[name]:.2g}"]
            for name, difference in worst
        ]
        heads = ("feature", "largest difference", "relative", "promised")
        output.print_table(heads, rows, numbers=heads[1:])
        output.print_line(
            f"largest difference over {report.bars} bars and {len(rows)} features: {report.max_abs_diff:.3g}"
        )

    output.print_result(report, json, show)
    if report.broken:
        output.print_error(f"alphaloop: these differ by more than they promise: {', '.join(report.broken)}")
        raise typer.Exit(1)
