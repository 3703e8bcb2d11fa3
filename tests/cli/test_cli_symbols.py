"""Symbols and days on the command line: names between commas, and what is wrong with a day."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from alphaloop.errors import InputError
from cli.commands import data
from cli.commands.options import parse_time, split_symbols


def source(*symbols: str) -> Any:
    """A source that lists these symbols, or cannot list any."""
    return SimpleNamespace(symbols=lambda: symbols)


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        ("", ("AAPL",), ()),
        ("AAPL,AMD", ("AAPL", "AMD"), ("AAPL", "AMD")),
        (" AAPL , AMD,, AAPL ", ("AAPL", "AMD"), ("AAPL", "AMD")),
        ("A B", ("A B", "C"), ("A B",)),
        ("C,A B", ("A B", "C"), ("C", "A B")),
        ("A B", ("A", "B", "A B"), ("A B",)),
        ("AAPL AMD", ("AAPL", "AMD"), ("AAPL", "AMD")),
        ("AAPL AMD,KO", ("AAPL", "AMD", "KO"), ("AAPL", "AMD", "KO")),
        ("APPL AMD", ("AAPL", "AMD"), ("APPL AMD",)),
        ("BRK B,KO", (), ("BRK B", "KO")),
        ('"A,B",C', ("A,B", "C"), ("A,B", "C")),
        ('C, "A, B"', ("A, B", "C"), ("C", "A, B")),
        ("BTC/USDT,^GSPC,ÖMV", (), ("BTC/USDT", "^GSPC", "ÖMV")),
    ],
)
def test_names_may_hold_blanks_and_commas(
    given: str, known: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """Commas part names; blanks do only where the source has both parts and not the whole."""
    assert split_symbols(given, source(*known)) == expected


def test_a_quote_without_its_end_is_refused() -> None:
    """What cannot be read says how to write it."""
    with pytest.raises(InputError, match=r'--symbols "A,B cannot be read .*; write AAPL,KO'):
        split_symbols('"A,B', source())


def test_a_symbol_with_a_blank_is_shown_by_its_name(tmp_path: Path) -> None:
    """`--symbols "BRK B"` shows that symbol of a file, and no other."""
    rows = [f"{symbol},2019-01-0{day},{day}" for day in (2, 3) for symbol in ("BRK A", "BRK B", "KO")]
    (tmp_path / "bars.csv").write_text("symbol,date,close\n" + "\n".join(rows) + "\n")
    shown = CliRunner().invoke(data.app, ["show", f"folder:{tmp_path}", "--symbols", "BRK B", "--json"])
    assert shown.exit_code == 0, shown.output
    assert '"symbols": 3' in shown.output
    assert shown.output.count('"symbol": "') == 1
    assert '"symbol": "BRK B"' in shown.output


def test_a_wrong_day_on_the_command_line_says_what_is_wrong() -> None:
    """A day that no month has is told as such."""
    with pytest.raises(InputError, match=r"--from '2019-02-30' is no date \(day is out of range for month\)"):
        parse_time("2019-02-30", "--from", "XNYS")
