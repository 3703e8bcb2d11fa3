"""Output files of a selection: the set as settings, the ranking as tables, and the report."""

from __future__ import annotations

import json
from pathlib import Path

from alphaloop.runtime.atomic_file import replace_file
from features.selection.reports.report import render_report
from features.selection.selection import SelectionResult

SETTINGS, PARQUET, CSV, REPORT = "features.toml", "ranking.parquet", "ranking.csv", "report.html"


def settings_toml(selected: SelectionResult) -> str:
    """Return the chosen set as TOML for `alphaloop.toml`; read back, it has the same hash."""
    # Double-quoted TOML strings have the syntax of JSON.
    lines = [f"  {json.dumps(text)}," for text in selected.feature_set.texts]
    return "\n".join(
        [
            f"# Chosen on bars up to {selected.until.isoformat()}, horizon {selected.horizon}, "
            f"seed {selected.seed}.",
            f"# Set {selected.feature_set.hash}",
            "[features]",
            "set = [",
            *lines,
            "]",
            "",
        ]
    )


def write_outputs(selected: SelectionResult, folder: Path) -> tuple[Path, ...]:
    """Write settings, table (Parquet and CSV) and report into `folder`, and return their paths.

    The folder is created. Raises `InputError` if it cannot be written.
    """
    from pyarrow import csv, parquet

    words, html = settings_toml(selected), render_report(selected)
    paths = tuple(folder / name for name in (SETTINGS, PARQUET, CSV, REPORT))
    replace_file(paths[0], lambda path: path.write_text(words, encoding="utf-8"))
    replace_file(paths[1], lambda path: parquet.write_table(selected.table, path))
    replace_file(paths[2], lambda path: csv.write_csv(selected.table, path))
    replace_file(paths[3], lambda path: path.write_text(html, encoding="utf-8"))
    return paths
