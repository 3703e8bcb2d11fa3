"""`alphaloop features`: the catalogue, the offline store, the online store, and that they agree."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.commands.options import AsJson, moment

app = typer.Typer(help="Features: definitions, offline and online store, parity.", no_args_is_help=True)

Until = Annotated[str, typer.Option(help="Last day to know of; later bars can be traded with --replay.")]
Bars = Annotated[int, typer.Option(min=1, help="How many of the last bars to compare.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="features")


@app.command("list")
def list_features(json: AsJson = False) -> None:
    """List the features, each defined once for batch and stream."""
    from console import output
    from features.sets import DEFAULT

    found = [_described(feature) for feature in DEFAULT.features]

    def show() -> None:
        rows = [[one["name"], str(one["lookback"]), ", ".join(one["inputs"])] for one in found]
        output.table(("feature", "lookback", "inputs"), rows, numbers=("lookback",))
        output.say(f"{len(found)} features, set {DEFAULT.hash}")

    output.answer({"set_hash": DEFAULT.hash, "features": found}, json, show)


@app.command()
def build(until: Until = "", json: AsJson = False) -> None:
    """Read the source, check and snapshot it, compute its features and write the offline store."""
    from alphaloop import settings
    from console import output, workspace
    from features.build import backfill
    from features.sets import DEFAULT
    from features.store import FeatureStore

    chosen = settings.load()
    with output.progress("building features") as tell:
        tell("reading and checking bars")
        workspace.take_snapshot(chosen, moment(until, "--until", end_of_day=True) if until else None)
        snapshot, bars = workspace.latest_bars(chosen)
        tell(f"{len(DEFAULT)} features over {len(bars):,} bars of {len(bars.symbols)} symbols")
        frame = backfill(bars, DEFAULT)
        tell("writing the offline store")
        store = FeatureStore(chosen.paths.feast)
        store.apply()
        store.write_offline(frame)
    built = {
        "snapshot": snapshot.id,
        "symbols": len(bars.symbols),
        "bars": len(bars),
        "first": snapshot.first,
        "last": snapshot.last,
        "features": len(DEFAULT),
        "set_hash": DEFAULT.hash,
    }
    output.answer(built, json, lambda: output.facts([(name, str(value)) for name, value in built.items()]))


@app.command()
def materialize(json: AsJson = False) -> None:
    """Write the windows of the newest bar to the online store, from where predictions are served."""
    from alphaloop import settings
    from alphaloop.clock import SystemClock
    from console import output, workspace
    from features.sets import DEFAULT
    from features.streamer import Streamer

    chosen = settings.load()
    with output.progress("materialising windows") as tell:
        snapshot, bars = workspace.latest_bars(chosen)
        tell(f"{len(bars.symbols)} symbols at {snapshot.last.date()}")
        streamer = Streamer(
            chosen.paths.feast, DEFAULT, bars.symbols, bars, chosen.features.window, SystemClock()
        )
        try:
            streamer.materialize()
        finally:
            streamer.close()
    written = {
        "as_of": snapshot.last,
        "symbols": list(bars.symbols),
        "window": chosen.features.window,
        "snapshot": snapshot.id,
        "set_hash": DEFAULT.hash,
    }
    output.answer(
        written, json, lambda: output.say(f"{len(bars.symbols)} windows of {snapshot.last.date()} are online")
    )


@app.command()
def parity(bars: Bars = 60, json: AsJson = False) -> None:
    """Compare backfill, stream and online store over the last bars; they have to agree."""
    import tempfile
    from pathlib import Path

    from alphaloop import settings
    from console import output, workspace
    from features import parity as parities
    from features.sets import DEFAULT

    chosen = settings.load()
    with (
        output.progress("comparing backfill, stream and online store"),
        tempfile.TemporaryDirectory() as folder,
    ):
        _, panel = workspace.latest_bars(chosen)
        report = parities.measure(Path(folder), panel, DEFAULT, bars)

    def show() -> None:
        worst = sorted(report.by_feature.items(), key=lambda pair: -pair[1])
        rows = [[name, f"{difference:.2g}"] for name, difference in worst]
        output.table(("feature", "largest difference"), rows, numbers=("largest difference",))
        output.say(f"largest difference over {report.bars} bars: {report.max_abs_diff:.3g}")

    output.answer(report, json, show)


def _described(feature: Any) -> dict[str, Any]:
    return {
        "name": feature.name,
        "lookback": feature.lookback,
        "inputs": list(feature.inputs),
        "definition": feature.definition(),
    }
