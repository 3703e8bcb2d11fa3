"""`alphaloop features select`: generate candidates and choose among them, on the past before a date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.commands.options import AsJson, moment, names

Until = Annotated[
    str, typer.Option(help="Last day that the choice may know of; by default four fifths into the bars.")
]
Count = Annotated[int, typer.Option(help="The most features to choose.")]
Horizon = Annotated[
    int, typer.Option(help="Bars from the fill to the end of the label; as in training by default.")
]
Methods = Annotated[str, typer.Option(help="Methods, separated by commas; all by default.")]
Seed = Annotated[int, typer.Option(help="Draws the candidates and all else that is drawn.")]
Candidates = Annotated[int, typer.Option(help="How many candidates: those in use, then generated ones.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for settings, table and report.")]


def register(parent: typer.Typer) -> None:
    """Add the verb."""
    parent.command("select")(select)


def select(
    until: Until = "",
    count: Count = 20,
    horizon: Horizon = 0,
    methods: Methods = "",
    seed: Seed = 7,
    candidates: Candidates = 120,
    to: Output = Path("features-selected"),
    json: AsJson = False,
) -> None:
    """Generate features and choose among them; writes the set as settings, a ranking and a report."""
    from alphaloop import settings
    from alphaloop.errors import InputError
    from alphaloop.market import to_datetime
    from console import output, workspace
    from features.selection import outcome, verdict
    from features.selection.generation import generate
    from features.selection.methods import chosen
    from features.selection.selection import select as choose
    from features.selection.selection import texts
    from features.sets import feature_set_of

    used = chosen(names(methods))
    if count < 1:
        raise InputError(f"--count is {count}; it is a number of features, at least 1")
    current = settings.load()
    with output.progress("choosing features") as tell:
        tell("reading bars")
        _, bars = workspace.latest_bars(current)
        split = (
            moment(until, "--until", end_of_day=True)
            if until
            else to_datetime(bars.timestamps[int(len(bars) * 0.8)])
        )
        tell(f"generating {candidates} candidates")
        generated = generate(bars, split, candidates, seed, texts(feature_set_of(current)))
        selected = choose(
            bars, generated, split, horizon or current.training.horizon, count, used, seed, tell=tell
        )
        tell("writing settings, ranking and report")
        written = outcome.write(selected, to)
    chance = selected.chance
    answer = {
        "set_hash": selected.feature_set.hash,
        "features": list(texts(selected.feature_set)),
        "until": split,
        "horizon": selected.horizon,
        "seed": seed,
        "methods": list(used),
        "candidates": len(selected.candidates),
        "tried": chance.tried,
        "best": {"feature": chance.name, "information_coefficient": chance.best, "p_value": chance.p_value},
        "without_skill": {"expected": chance.expected, "shifted_95": chance.shifted_95},
        "beyond_chance": chance.beyond,
        "files": [str(path) for path in written],
    }

    def show() -> None:
        columns = ("rank", "feature", "information_coefficient", "t_statistic", "sign_agreement", "mean_rank")
        rows = [row for row in selected.table.to_pylist() if row["chosen"]]
        shown = [
            [str(row["rank"]), row["feature"], *(f"{row[name]:+.3f}" for name in columns[2:4]),
             f"{row['sign_agreement']:.0%}", f"{row['mean_rank']:.1f}"]
            for row in rows
        ]  # fmt: skip
        heads = ("rank", "feature", "IC", "t", "sign kept", "mean rank")
        output.table(heads, shown, numbers=("rank", *heads[2:]))
        output.say(verdict.verdict(selected))
        output.say(f"set {selected.feature_set.hash}; written: {', '.join(answer['files'])}")

    output.answer(answer, json, show)
