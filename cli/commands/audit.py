"""`alphaloop audit`: verify the journal, adopt unanchored records, replay an order, name its providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import AsJson

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings
    from loop.decision_replay import ReplayedDecision

app = typer.Typer(
    help="Audit: verify the journal, adopt records without an anchor, replay an order, name its providers.",
    no_args_is_help=True,
)

OrderId = Annotated[str, typer.Argument(help="The client order id, as al-…")]
AnyOrderId = Annotated[str, typer.Argument(help="A client order id, as al-…; all decisions by default.")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="audit")


@app.command()
def verify(json: AsJson = False) -> None:
    """Check every chain of the journal against its hashes and its anchors; exit 1 where one is broken."""
    from alphaloop.journal.opening import journal_name
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from loop import audit

    chosen = settings.load_settings()
    with output.show_progress("verifying the journal"):
        chains = audit.audit_journal(chosen)
    broken = [chain for chain in chains if not chain.ok]

    def show() -> None:
        rows = [
            [
                chain.stream,
                f"{chain.records:,}",
                "whole" if chain.ok else "[red]broken[/]" if chain.opened else "[red]unknown[/]",
                "; ".join([*([chain.problem] if chain.problem else []), *chain.adopted]),
            ]
            for chain in chains
        ]
        output.print_table(("stream", "records", "chain", "remark"), rows, numbers=("records",))

    output.print_result(chains, json, show, "" if broken else next_step("audit verify"))
    if broken:
        fault = "was altered" if broken[0].opened else "could not be verified"
        fault = "holds what no anchor vouches for" if broken[0].unanchored else fault
        place = journal_name(chosen)
        output.print_error(f"alphaloop: the journal at {place} {fault}: {broken[0].problem}")
        raise typer.Exit(1)


@app.command()
def adopt(
    by: Annotated[str, typer.Option(help="Who vouches for the records.")],
    reason: Annotated[str, typer.Option(help="Why they are trusted, although no anchor names them.")],
    json: AsJson = False,
) -> None:
    """Vouch for records that no anchor names, after you looked at them; journals who did and why."""
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step
    from loop import audit

    adopted = [
        {"stream": record.stream, "up_to": record.body["up_to"], "seq": record.seq}
        for record in audit.adopt_records(settings.load_settings(), by, reason)
    ]

    def show() -> None:
        for one in adopted:
            output.print_line(f"stream '{one['stream']}': records up to {one['up_to']} are adopted")
        if not adopted:
            output.print_line("every record is anchored; there was nothing to adopt")

    output.print_result(adopted, json, show, next_step("audit adopt"))


@app.command()
def replay(order_id: AnyOrderId = "", json: AsJson = False) -> None:
    """Decide anew from the journal; exit 1 unless the identical orders result, 3 where nobody can know."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from cli.next_steps import next_step
    from loop import audit

    if not order_id:
        _replay_all(settings.load_settings(), json)
        return
    result = audit.replay_order(settings.load_settings(), order_id)
    output.print_result(
        result,
        json,
        lambda: output.print_facts(formatting.flatten_facts(result)),
        next_step("audit replay", order_id=order_id) if result["identical"] else "",
    )
    if not result["identical"]:
        output.print_error(f"alphaloop: order {order_id} does not follow from its journaled decision")
        raise typer.Exit(1)


def _replay_all(settings: Settings, json: bool) -> None:
    """Make every decision again, and list those that do not give their orders."""
    from collections import Counter
    from dataclasses import asdict

    from alphaloop.errors import CHECK_FAILED, UNAVAILABLE
    from cli import formatting, output
    from cli.next_steps import next_step
    from loop.decision_replay import ReplayOutcome, replay_decisions

    with output.show_progress("deciding anew"):
        replayed = replay_decisions(settings)
    counts = Counter(one.outcome for one in replayed)

    def show() -> None:
        for one in replayed:
            if one.outcome is not ReplayOutcome.IDENTICAL:
                output.print_line(f"{formatting.format_day(one.as_of)} {_because(one)}")
        told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in ReplayOutcome if counts[outcome])
        output.print_line(f"{len(replayed):,} decisions: {told or 'none was made yet'}")

    wrong = any(one.outcome is not ReplayOutcome.IDENTICAL for one in replayed)
    step = "" if wrong or not replayed else next_step("audit replay every")
    output.print_result([asdict(one) for one in replayed], json, show, step)
    for outcome, code in (
        (ReplayOutcome.BROKEN, CHECK_FAILED),
        (ReplayOutcome.NOT_REPLAYABLE, UNAVAILABLE),
    ):
        first = next((one for one in replayed if one.outcome is outcome), None)
        if first is not None:
            output.print_error(f"alphaloop: decision {first.decision_id}: {_because(first)}")
            raise typer.Exit(code)


def _because(decision: ReplayedDecision) -> str:
    """Format outcome and reason; the reason of a decision that cannot be replayed begins with it."""
    if decision.reason.startswith(decision.outcome):
        return decision.reason
    return f"{decision.outcome}: {decision.reason}"


@app.command("normal-form")
def show_normal_form(
    stream: Annotated[str, typer.Argument(help="A stream of the journal, as trading.")],
) -> None:
    """Print a stream's records as JSON lines without what differs between two runs of the same decisions."""
    import json

    from alphaloop.settings import settings
    from loop import audit

    for one in audit.normal_records(settings.load_settings(), stream):
        typer.echo(json.dumps(one, sort_keys=True))


@app.command()
def providers(order_id: OrderId, json: AsJson = False) -> None:
    """Show the data providers behind an order: of the bars it was decided on, and of its features."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from loop import provenance

    result = provenance.order_providers(settings.load_settings(), order_id)
    output.print_result(result, json, lambda: output.print_facts(formatting.flatten_facts(result)))
