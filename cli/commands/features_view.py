"""Rows and tables of `alphaloop features list`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from alphaloop.errors import InputError

if TYPE_CHECKING:
    from features.feature_set import Feature

EXACT, WITHIN_TOLERANCE = "bit-identical", "within 1e-9"
NEVER_SETTLES = "never"
"""Warm-up shown for a feature that depends on the start of its history, however long that is."""


def feature_row(one: Feature) -> dict[str, Any]:
    """Describe one feature of a feature set."""
    return {
        "name": one.name,
        "formula": one.formula,
        "inputs": list(one.inputs),
        "lookback": one.lookback,
        "warmup": one.warmup,
        "stream": EXACT if one.exact else WITHIN_TOLERANCE,
        "definition": one.definition(),
    }


def indicator_rows(word: str = "") -> list[dict[str, Any]]:
    """Describe every indicator with `word` in its name, group or description, at default parameters.

    `warmup` gives, for each output, the bars until it no longer depends on the start of its history; None
    where it always does. Raises `InputError` where no indicator matches.
    """
    from features import catalogue as indicators
    from features.engine.warmup import warmup_bars

    rows = []
    for name in indicators.indicator_names():
        indicator = indicators.find_indicator(name)
        if word.lower() not in f"{name} {indicator.group} {indicator.description}".lower():
            continue
        node = indicators.build_indicator(name)
        rows.append(
            {
                "name": name,
                "group": indicator.group,
                "inputs": list(indicator.inputs),
                "parameters": dict(indicator.parameters),
                "outputs": list(indicator.outputs),
                "lookback": node.lookback,
                "warmup": {one: warmup_bars(node.output(one)) for one in node.operator.outputs},
                "stream": EXACT if node.exact else WITHIN_TOLERANCE,
                "description": indicator.description,
                "reference": indicator.reference,
            }
        )
    if not rows:
        raise InputError(f"no indicator has '{word}' in name, group or description; leave it out to see all")
    return rows


def show_catalogue(rows: Sequence[dict[str, Any]], *, described: bool = False) -> None:
    """Print the indicators as a table, group by group; `described` shows descriptions, not inputs."""
    from cli import output

    if not rows:
        return
    shown = []
    for row in sorted(rows, key=lambda one: str(one["group"])):
        parameters = ", ".join(f"{name}={value}" for name, value in row["parameters"].items())
        outputs = "" if row["outputs"] == ["value"] else ", ".join(row["outputs"])
        shown.append(
            [
                row["group"],
                row["name"],
                row["description"] if described else ", ".join(row["inputs"]),
                parameters,
                outputs,
                str(row["lookback"]),
                _warmup(row["warmup"].values()),
                row["stream"],
            ]
        )
    second = "description" if described else "inputs"
    heads = ("group", "indicator", second, "parameters", "outputs", "lookback", "warm-up", "batch and stream")
    output.print_table(heads, shown, numbers=("lookback", "warm-up"))
    output.print_line(f"{len(shown)} indicator{'s' if len(shown) > 1 else ''}")


def show_set(found: Sequence[dict[str, Any]]) -> None:
    """Print the features in use as a table."""
    from cli import output

    rows = [
        [
            one["name"],
            one["formula"],
            ", ".join(one["inputs"]),
            str(one["lookback"]),
            _warmup([one["warmup"]]),
            one["stream"],
        ]
        for one in found
    ]
    heads = ("feature", "formula", "inputs", "lookback", "warm-up", "batch and stream")
    output.print_table(heads, rows, numbers=("lookback", "warm-up"))


def _warmup(bars: Iterable[int | None]) -> str:
    """Format the longest warm-up of several outputs, in bars."""
    known = [one for one in bars if one is not None]
    return str(max(known)) if known else NEVER_SETTLES
