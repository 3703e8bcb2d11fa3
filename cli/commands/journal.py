"""`alphaloop journal`: migrate the journal, copy it while it is written, put a copy back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import AsJson

if TYPE_CHECKING:
    from alphaloop.journal.upkeep.backup import CopiedJournal

app = typer.Typer(help="The journal's database: migrate, backup, restore.", no_args_is_help=True)

Copy = Annotated[Path, typer.Argument(metavar="FILE", help="The copy, a SQLite file.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="journal")


@app.command("migrate")
def migrate_tables(json: AsJson = False) -> None:
    """Create the journal's tables, or bring them to this release; says what it did, and may be repeated."""
    from dataclasses import asdict

    from alphaloop.journal.upkeep.migration import migrate_journal
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step

    done = migrate_journal(settings.load_settings())

    def show() -> None:
        if not done.is_change:
            output.print_line(f"the journal {done.journal} is at revision {done.after}; nothing was to do")
        elif done.before:
            output.print_line(
                f"the journal {done.journal} was brought from revision {done.before} to {done.after}"
            )
        else:
            output.print_line(f"the journal {done.journal} was created, at revision {done.after}")

    output.print_result(asdict(done), json, show, next_step("journal migrate"))


@app.command()
def backup(file: Copy, json: AsJson = False) -> None:
    """Copy the journal to a new file, while others write it, and verify the copy against the anchors."""
    from alphaloop.journal.upkeep.backup import backup_journal
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step

    with output.show_progress("copying the journal"):
        copied = backup_journal(settings.load_settings(), file)
    output.print_result(_facts(copied), json, lambda: _show(copied, "copied"), next_step("journal backup"))


@app.command("restore")
def restore_copy(
    file: Copy,
    older_than_anchors: Annotated[
        bool, typer.Option("--older-than-anchors", help="Give up the records that the copy lacks.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Put a copy in the journal's place; refused where the anchors name records that it lacks."""
    from alphaloop.journal.upkeep.backup import restore_journal
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step

    with output.show_progress("restoring the journal"):
        restored = restore_journal(settings.load_settings(), file, older_than_anchors=older_than_anchors)
    output.print_result(
        _facts(restored), json, lambda: _show(restored, "restored"), next_step("journal restore")
    )


def _facts(copied: CopiedJournal) -> dict[str, object]:
    kept = copied.kept_anchors
    return {
        "file": str(copied.file),
        "records": copied.records,
        "kept_anchors": str(kept) if kept else None,
    }


def _show(copied: CopiedJournal, verb: str) -> None:
    from cli import output

    rows = [[stream, f"{count:,}"] for stream, count in sorted(copied.records.items())]
    output.print_table(("stream", f"records {verb}"), rows, numbers=(f"records {verb}",))
    if copied.kept_anchors:
        output.print_line(f"the anchors of before are kept as {copied.kept_anchors}")
