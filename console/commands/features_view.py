"""What `alphaloop features list` says of indicators and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.sets import Feature

EXACT, CLOSE = "bit-identical", "within 1e-9"


def feature(one: Feature) -> dict[str, Any]:
    """One column of a feature set."""
    return {
        "name": one.name,
        "formula": one.formula,
        "inputs": list(one.inputs),
        "lookback": one.lookback,
        "stream": EXACT if one.exact else CLOSE,
        "definition": one.definition(),
    }


def catalogue() -> list[dict[str, Any]]:
    """Every indicator with its default parameters."""
    from features import catalogue as indicators

    rows = []
    for name in indicators.names():
        found, node = indicators.find(name), indicators.apply(name)
        rows.append(
            {
                "name": name,
                "group": found.group,
                "inputs": list(found.inputs),
                "parameters": dict(found.parameters),
                "outputs": list(found.outputs),
                "lookback": node.lookback,
                "stream": EXACT if node.exact else CLOSE,
                "description": found.description,
                "reference": found.reference,
            }
        )
    return rows


def show_catalogue(rows: Sequence[dict[str, Any]]) -> None:
    """The indicators as a table, group by group."""
    from console import output

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
                ", ".join(row["inputs"]),
                parameters,
                outputs,
                str(row["lookback"]),
                row["stream"],
            ]
        )
    heads = ("group", "indicator", "inputs", "parameters", "outputs", "lookback", "batch and stream")
    output.table(heads, shown, numbers=("lookback",))
    output.say(f"{len(shown)} indicators")


def show_set(found: Sequence[dict[str, Any]]) -> None:
    """The features in use as a table."""
    from console import output

    rows = [
        [one["name"], one["formula"], ", ".join(one["inputs"]), str(one["lookback"]), one["stream"]]
        for one in found
    ]
    heads = ("feature", "formula", "inputs", "lookback", "batch and stream")
    output.table(heads, rows, numbers=("lookback",))
