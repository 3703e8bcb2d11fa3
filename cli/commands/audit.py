"""`alphaloop audit`: verify the journal, adopt unanchored records, replay an order, name its providers."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import AsJson

app = typer.Typer(
    help="Audit: verify the journal, adopt records without an anchor, replay an order, name its providers.",
    no_args_is_help=True,
)

OrderId = Annotated[str, typer.Argument(help="The client order id, as al-…")]


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="audit")


@app.command()
def verify(json: AsJson = False) -> None:
    """Check every chain of the journal against its hashes and its anchors; exit 1 where one is broken."""
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
        output.print_error(f"alphaloop: the journal at {chosen.paths.journal} {fault}: {broken[0].problem}")
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
def replay(order_id: OrderId, json: AsJson = False) -> None:
    """Decide an order anew from the journal; exit 1 unless the identical order results."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from cli.next_steps import next_step
    from loop import audit

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


@app.command()
def providers(order_id: OrderId, json: AsJson = False) -> None:
    """Show the data providers behind an order: of the bars it was decided on, and of its features."""
    from alphaloop.settings import settings
    from cli import formatting, output
    from loop import provenance

    result = provenance.order_providers(settings.load_settings(), order_id)
    output.print_result(result, json, lambda: output.print_facts(formatting.flatten_facts(result)))
