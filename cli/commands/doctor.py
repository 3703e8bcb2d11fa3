"""`alphaloop doctor`: report what is installed or missing, with the command that fixes it."""

from __future__ import annotations

import typer

from cli.commands.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(doctor)


def doctor(json: AsJson = False) -> None:
    """Report what is installed and what is missing, with the command that fixes it."""
    from alphaloop.settings import settings
    from cli import doctor, output
    from cli.next_steps import next_step

    checks = doctor.check_machine(settings.load_settings())
    lacking = [one.name for one in checks if one.required and not one.ok]

    def show() -> None:
        marks = {True: "[green]✓[/]", False: "[red]✗[/]"}
        for one in checks:
            mark = marks[one.ok] if one.ok or one.required else "[yellow]–[/]"
            output.print_line(f"{mark} [bold]{one.name}[/]  {one.found}")
            if not one.ok:
                output.print_line(f"    {one.mend}")
        output.print_line(
            f"\nneeded and missing: {', '.join(lacking)}" if lacking else "\neverything needed is here"
        )

    output.print_result(checks, json, show, "" if lacking else next_step("doctor"))
    if lacking:
        raise typer.Exit(1)
