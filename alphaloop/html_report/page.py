"""The page of a report, and its blocks of text and figures.

Every function returns HTML with its text escaped. The page contains its own style sheet, loads nothing from
the network and runs no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from alphaloop.html_report.style import STYLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A headline number: its name, its value as shown, and a note for comparison."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table; numbers are aligned right."""

    name: str
    number: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """A cell of a table with a colour (`good`, `bad`), or with HTML content."""

    text: str = ""
    tone: str = ""
    html: str = ""


def render_page(
    *, title: str, kicker: str, headline: str, lead: str, sections: Iterable[str], footer: str
) -> str:
    """Render the whole document.

    `title` is the title of the browser's window; `sections` are HTML.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(headline)}</h1>
<p class="lead">{escape(lead)}</p>
</header>
{"".join(sections)}
<footer>{escape(footer)}</footer>
</main>
</body>
</html>
"""


def section(heading: str, lead: str, *blocks: str) -> str:
    """Render a section: a heading, an introduction, and its blocks."""
    return f"<section><h2>{escape(heading)}</h2>{paragraph(lead)}{''.join(blocks)}</section>\n"


def panel(*blocks: str, heading: str = "", badge_html: str = "", note: str = "") -> str:
    """Render a framed block, optionally with heading, badge and note."""
    head = f"<h3>{escape(heading)} {badge_html}</h3>" if heading else ""
    return f'<div class="panel">{head}{paragraph(note)}{"".join(blocks)}</div>'


def render_columns(*blocks: str) -> str:
    """Place blocks side by side where the page is wide enough."""
    return f'<div class="columns">{"".join(f"<div>{block}</div>" for block in blocks)}</div>'


def paragraph(content: str, css: str = "") -> str:
    """Render a paragraph; an empty content gives an empty text."""
    return f'<p class="{css}">{escape(content)}</p>' if content else ""


def badge(content: str, tone: str) -> str:
    """Render a short verdict in the tone `good`, `bad`, `warn` or `muted`."""
    return f'<span class="badge {tone}">{escape(content)}</span>'


def figures(entries: Iterable[Figure]) -> str:
    """Render the headline numbers."""
    tiles = []
    for one in entries:
        note = f'<dd class="note">{escape(one.note)}</dd>' if one.note else ""
        tiles.append(
            f'<div><dt>{escape(one.name)}</dt><dd class="{one.tone}">{escape(one.value)}</dd>{note}</div>'
        )
    return f'<dl class="figures">{"".join(tiles)}</dl>'


def render_table(heads: Sequence[TableColumn], rows: Iterable[Sequence[str | TableCell]]) -> str:
    """Render a table that scrolls sideways where the page is narrow."""
    head = "".join(f'<th class="{_alignment(one)}">{escape(one.name)}</th>' for one in heads)
    body = "".join(
        "<tr>" + "".join(_cell(cell, one) for cell, one in zip(row, heads, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def bullets(lines: Iterable[str]) -> str:
    """Render a list of reasons."""
    return '<ul class="reasons">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def chain(steps: Iterable[tuple[str, str, str]]) -> str:
    """Render steps that lead from one to the next: name, description, identifier or value."""
    items = "".join(
        f"<li><b>{escape(step)}</b><span>{escape(label)}</span><code>{escape(value)}</code></li>"
        for step, label, value in steps
    )
    return f'<ol class="chain">{items}</ol>' if items else paragraph("No order was traced.", "nothing")


def checks(entries: Iterable[tuple[str, bool]]) -> str:
    """Render a list of checks and their results."""
    items = "".join(f'<li class="{"" if held else "bad"}">{escape(words)}</li>' for words, held in entries)
    return f'<ul class="checks">{items}</ul>'


def details(summary: str, body: str) -> str:
    """Render text that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def preformatted(lines: Iterable[str]) -> str:
    """Render lines of printed text unchanged."""
    return f'<pre class="story">{escape(chr(10).join(lines))}</pre>'


def _alignment(column: TableColumn) -> str:
    return "number" if column.number else ""


def _cell(cell: str | TableCell, column: TableColumn) -> str:
    if isinstance(cell, str):
        cell = TableCell(text=cell)
    css = f"{_alignment(column)} {cell.tone}".strip()
    return f'<td class="{css}">{cell.html or escape(cell.text)}</td>'
