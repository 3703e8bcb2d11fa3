"""`alphaloop book`: show the journal's book, and carry it over to other symbols or sleeves."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from cli.commands.options import AsJson, By, Reason, operator

if TYPE_CHECKING:
    from alphaloop.bars import BarPanel
    from alphaloop.journal.store import Journal
    from alphaloop.settings.settings import Settings
    from trading.carry_over import BookState

STREAM = "trading"

app = typer.Typer(help="The book of the journal: show, carry.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="book")


@app.command()
def show(json: AsJson = False) -> None:
    """Show the book after its last decision: equity, cash, positions and open orders."""
    from alphaloop.settings import settings
    from cli import output
    from cli.next_steps import next_step

    with _journal(settings.load_settings()) as journal:
        facts = _facts(_recovered(journal))
    held = facts["positions"]

    def show_facts() -> None:
        output.print_facts([(name, _shown(value)) for name, value in facts.items() if name != "positions"])
        output.print_table(("symbol", "quantity"), [[one, held[one]] for one in held], numbers=("quantity",))

    output.print_result(facts, json, show_facts, next_step("book show"))


@app.command()
def carry(reason: Reason, by: By = "", json: AsJson = False) -> None:
    """Carry the book over to the symbols of the newest snapshot and to trading.sleeves, once, journaled.

    Open orders are dropped. Positions in symbols that are left out are sold at their last prices and usual
    cost (at a broker with an account of its own, sell them by hand). With another number of sleeves the book
    is divided anew in equal parts. A new symbol alone needs no carry: `trade` goes on.
    """
    from alphaloop.costs import CostModel
    from alphaloop.journal.roles import executor_role
    from alphaloop.sleeve_plan import sleeve_names
    from cli import output
    from cli.next_steps import next_step
    from loop import workspace
    from trading.carry_over import CARRIED_KIND, carry_over

    chosen = workspace.writable_settings()
    _, bars = workspace.latest_bars(chosen)
    with _journal(chosen) as journal:
        costs, sleeves = CostModel.from_settings(chosen.trading), sleeve_names(chosen.trading.sleeves)
        carried = carry_over(_recovered(journal, bars), bars.symbols, sleeves, costs)
        with (
            journal.take_role(executor_role(STREAM)) as role,
            journal.writer(STREAM, role) as writer,
        ):
            writer.append(CARRIED_KIND, carried.to_body(by or operator(), reason))
    facts = _facts(carried.state) | {
        "sales": carried.sales,
        "dropped_orders": carried.dropped_orders,
    }

    def show_facts() -> None:
        output.print_facts(
            [(name, _shown(facts[name])) for name in ("as_of", "sleeves", "symbols", "equity", "cash")]
        )
        rows = [[one.symbol, f"{one.quantity:f}", f"{one.price:f}", f"{one.cost:f}"] for one in carried.sales]
        if rows:
            heads = ("sold", "quantity", "price", "cost")
            output.print_table(heads, rows, numbers=heads[1:])
        output.print_line(f"{len(carried.dropped_orders)} open orders were dropped")

    output.print_result(facts, json, show_facts, next_step("book carry"))


def _journal(settings: Settings) -> Journal:
    from alphaloop.clock import SystemClock
    from alphaloop.errors import MissingStateError
    from alphaloop.journal.opening import has_journal, journal_name, open_journal

    if not has_journal(settings):
        raise MissingStateError(f"no journal at {journal_name(settings)}; `alphaloop trade` begins a book")
    return open_journal(settings, SystemClock())


def _recovered(journal: Journal, past: BarPanel | None = None) -> BookState:
    from alphaloop.errors import MissingStateError
    from trading.recovery import recover_book

    state = recover_book(journal.records(STREAM), past)
    if state is None:
        raise MissingStateError("the journal holds no decision and so no book; `alphaloop trade` begins one")
    return state


def _shown(value: Any) -> str:
    """Format a fact for people: money to the cent, times to the minute."""
    from cli import formatting

    if isinstance(value, datetime):
        return formatting.format_time(value, intraday=True)
    return f"{value:,.2f}" if isinstance(value, Decimal) else str(value)


def _facts(state: BookState) -> dict[str, Any]:
    portfolio = state.portfolio
    return {
        "as_of": state.last.as_of,
        "sleeves": len(portfolio.books),
        "symbols": len(portfolio.symbols),
        "equity": portfolio.equity(state.prices),
        "cash": sum(book.cash for book in portfolio.books),
        "open_orders": len(portfolio.working) + len(portfolio.crossing),
        "positions": {
            one.symbol: f"{one.quantity.normalize():f}" for one in portfolio.positions() if one.quantity
        },
    }
