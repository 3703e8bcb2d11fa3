"""`alphaloop features select`: generate candidate features and select among them on past bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.options import AsJson, parse_time, split_names

if TYPE_CHECKING:
    from datetime import datetime

    from alphaloop.bars import BarPanel
    from features.selection.selection import SelectionResult

Until = Annotated[
    str, typer.Option(help="Last day of the bars to select on; by default four fifths into the bars.")
]
Count = Annotated[int, typer.Option(help="Maximum number of features.")]
Horizon = Annotated[
    int, typer.Option(help="Bars from the fill to the end of the label; as in training by default.")
]
Methods = Annotated[str, typer.Option(help="Methods, separated by commas; all by default.")]
Seed = Annotated[int, typer.Option(help="Seed of all random draws.")]
Candidates = Annotated[int, typer.Option(help="Number of candidates: those in use, then generated ones.")]
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
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from features.feature_set import feature_set_of
    from features.selection.generation import generate_candidates
    from features.selection.methods.method import chosen_methods
    from features.selection.reports import output_files
    from features.selection.selection import select_features as choose
    from loop import workspace

    used = chosen_methods(split_names(methods))
    for option, value in (("--horizon", horizon), ("--seed", seed)):
        if value < 0:
            raise InputError(f"{option} is {value}; it is a whole number from 0")
    if count < 1:
        raise InputError(f"--count is {count}; it is a number of features, at least 1")
    current = settings.load_settings()
    with output.show_progress("choosing features") as tell:
        tell("reading bars")
        _, bars = workspace.latest_bars(current)
        split = _split(until, bars)
        tell(f"generating {candidates} candidates")
        generated = generate_candidates(bars, split, candidates, seed, feature_set_of(current))
        selected = choose(
            bars, generated, split, horizon or current.training.horizon, count, used, seed, tell=tell
        )
        tell("writing settings, ranking and report")
        written = output_files.write_outputs(selected, to)
    answer = _answer(selected, written)
    output.print_result(answer, json, lambda: _show(selected, written), next_step("features select"))


def _split(until: str, bars: BarPanel) -> datetime:
    from alphaloop.bars import to_datetime

    if until:
        end = parse_time(until, "--until", bars.calendar, end_of_day=True)
        # The last bar up to the end of that day, where there is one.
        known = bars.between(end=end)
        return to_datetime(known.timestamps[-1]) if len(known) else end
    return to_datetime(bars.timestamps[int(len(bars) * 0.8)])


def _answer(selected: SelectionResult, written: Sequence[Path]) -> dict[str, Any]:

    chance, held = selected.chance, selected.held_out
    best = {"feature": chance.name, "information_coefficient": chance.best, "p_value": chance.p_value}
    return {
        "set_hash": selected.feature_set.hash,
        "features": list(selected.feature_set.texts),
        "until": selected.until,
        "horizon": selected.horizon,
        "seed": selected.seed,
        "methods": list(selected.methods),
        "candidates": len(selected.candidates),
        "tried": chance.tried,
        "best": best,
        "without_skill": {"expected": chance.expected, "shifted_95": chance.shifted_95},
        "beyond_chance": chance.beyond,
        "held_out_never_used": held
        and {
            "bars": held.bars,
            "best": held.best,
            "expected_without_skill": held.expected,
            "information_coefficients": {
                name: held.coefficients[name] for name in selected.feature_set.names
            },
        },
        "files": list(written),
    }


def _show(selected: SelectionResult, written: Sequence[Path]) -> None:
    from cli import output
    from features.selection.reports.summary import summary_text

    rows = [
        [
            str(row["rank"]),
            row["feature"],
            f"{row['information_coefficient']:+.3f}",
            f"{row['t_statistic']:+.1f}",
            f"{row['sign_agreement']:.0%}",
            f"{row['mean_rank']:.1f}",
        ]
        for row in selected.table.to_pylist()
        if row["chosen"]
    ]
    heads = ("rank", "feature", "IC", "t", "sign kept", "mean rank")
    output.print_table(heads, rows, numbers=("rank", *heads[2:]))
    output.print_line(summary_text(selected))
    output.print_line(f"set {selected.feature_set.hash}; written: {', '.join(str(path) for path in written)}")
