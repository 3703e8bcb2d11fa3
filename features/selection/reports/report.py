"""Report of a selection as one page: the choice, what chance would find, and the held-out period."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from alphaloop.bars import to_datetime
from alphaloop.html_report import page
from alphaloop.html_report.bar_charts import render_bars
from alphaloop.html_report.heatmap import Heatmap, heatmap
from features.engine.operator import Vector
from features.selection.information_coefficient import coefficient_standard_error, mean_coefficient
from features.selection.reports import charts
from features.selection.reports.summary import summary_text
from features.selection.selection import SelectionResult

_SIGNED = "{:+.3f}".format


def render_report(selected: SelectionResult) -> str:
    """Return the page as self-contained HTML."""
    count, tried = len(selected.feature_set), selected.chance.tried
    return page.render_page(
        title="Selection of features",
        kicker="alphaloop · selection of features",
        headline=f"{count} of {tried} candidates, chosen on what was known on {selected.until.date()}",
        lead=summary_text(selected),
        sections=[
            page.figures(_headlines(selected)),
            _chance(selected),
            _chosen(selected),
            charts.methods_chart(selected),
            charts.correlation_chart(selected),
            charts.stability_chart(selected),
            _held_out(selected),
            _ranking(selected),
        ],
        footer=f"Set {selected.feature_set.hash} · seed {selected.seed} · methods "
        f"{', '.join(selected.methods)} · no figure above the held-out section knows a bar after "
        f"{selected.until.isoformat()}",
    )


def _headlines(selected: SelectionResult) -> list[page.Figure]:
    chance, part = selected.chance, selected.part
    span = f"{to_datetime(part.timestamps[0]).date()} to {to_datetime(part.timestamps[-1]).date()}"
    tone = "good" if chance.beyond else "warn"
    return [
        page.Figure(
            name="Best |IC| found", value=f"{chance.best:.3f}", note=f"p = {chance.p_value:.3f}", tone=tone
        ),
        page.Figure(
            name="Best |IC| with no skill",
            value=f"{chance.expected:.3f}",
            note=f"expected of the best of {chance.tried}",
        ),
        page.Figure(
            name="Candidates, in clusters",
            value=f"{len(selected.candidates)} in {len(selected.clusters)}",
            note="one of a cluster is taken",
        ),
        page.Figure(
            name="Training part",
            value=f"{len(part):,} bars",
            note=f"{len(part.symbols)} symbols, {span}; horizon {selected.horizon}",
        ),
    ]


def _chance(selected: SelectionResult) -> str:
    chance = selected.chance
    words, tone = ("beyond chance", "good") if chance.beyond else ("no more than chance", "warn")
    return page.section(
        "What chance alone would find",
        "The best of many looks good even when none of them knows anything. The labels were moved in time "
        "against the candidates, and the best |IC| of all candidates taken again each time.",
        page.panel(
            render_bars(
                [
                    (f"best found ({chance.name})", chance.best),
                    (f"expected of {chance.tried} normal draws", chance.expected),
                    ("with labels moved, mean", chance.shifted),
                    ("with labels moved, 95 % level", chance.shifted_95),
                ],
                label="{:.4f}".format,
            ),
            heading="Mean information coefficient, by size",
            badge_html=page.badge(words, tone),
        ),
    )


def _chosen(selected: SelectionResult) -> str:
    part = selected.part
    means = mean_coefficient(part.coefficients)
    scores = means / coefficient_standard_error(part.coefficients, selected.horizon)
    stable, of = selected.stability, selected.clusters.of
    heads = [page.TableColumn(name="feature", number=False)]
    heads += [page.TableColumn(name=name) for name in ("IC", "t", "sign kept", "cluster of")]
    heads.append(page.TableColumn(name="formula", number=False))
    rows: list[Sequence[str | page.TableCell]] = [
        [
            selected.candidates.names[place],
            _SIGNED(means[place]),
            f"{scores[place]:+.1f}",
            f"{stable.agreement[place]:.0%}",
            str(int((of == of[place]).sum())),
            page.TableCell(html=f"<code>{escape(selected.candidates.features[place].formula)}</code>"),
        ]
        for place in selected.taken
    ]
    lines = ["[features]", "set = [", *(f'  "{text}",' for text in selected.feature_set.texts), "]"]
    return page.section(
        "The set",
        "In the order of the methods' mean rank. The t-statistic allows for overlapping labels, and for "
        "nothing else: read it beside the number of candidates tried.",
        page.panel(page.render_table(heads, rows), page.details("As settings", page.preformatted(lines))),
    )


def _held_out(selected: SelectionResult) -> str:
    held = selected.held_out
    heading = "After the split date: information only, never used"
    if held is None:
        return page.section(heading, "Too few bars lie after the split date to say anything of them.")
    before = mean_coefficient(selected.part.coefficients)
    names = selected.feature_set.names
    after = np.array([held.coefficients[name] for name in names])
    same = _same_sign(before[selected.taken], after)
    rows = [[names[place], before[one], after[place]] for place, one in enumerate(selected.taken)]
    chart = Heatmap(
        title="Information coefficient before and after the split date",
        rows=[str(row[0]) for row in rows],
        columns=["up to the split date", "after it"],
        values=[[float(row[1]), float(row[2])] for row in rows],
        label=_SIGNED,
        numbers=True,
    )
    return page.section(
        heading,
        f"{held.bars} bars that had no part in any choice. Choose again because of what stands here, and "
        "they are held out no longer.",
        page.panel(
            heatmap(chart),
            heading=f"{same} of {len(names)} chosen features keep their sign",
            badge_html=page.badge("held out", "muted"),
            note=f"Best |IC| of all {len(held.coefficients)} candidates here: {held.best:.3f}; expected of "
            f"the best of {held.tried} with no skill: {held.expected:.3f}.",
        ),
    )


def _same_sign(before: Vector, after: Vector) -> int:
    return int((np.sign(before) == np.sign(after)).sum())


def _ranking(selected: SelectionResult) -> str:
    heads = [page.TableColumn(name="rank"), page.TableColumn(name="feature", number=False)]
    heads += [page.TableColumn(name=name) for name in ("mean rank", "IC", "t", "sign kept", "cluster")]
    heads.append(page.TableColumn(name="", number=False))
    rows = [_row(row) for row in selected.table.to_pylist()]
    return page.section(
        "All candidates",
        "From best to worst by the mean of the methods' ranks; the table beside this page has every score.",
        page.details(f"{len(rows)} candidates", page.panel(page.render_table(heads, rows))),
    )


def _row(row: dict[str, object]) -> Sequence[str]:
    words = [word for word in ("chosen", "medoid", "flips") if row[word]]
    return [
        str(row["rank"]),
        str(row["feature"]),
        f"{row['mean_rank']:.1f}",
        f"{row['information_coefficient']:+.4f}",
        "–" if row["t_statistic"] is None else f"{row['t_statistic']:+.1f}",
        f"{row['sign_agreement']:.0%}",
        str(row["cluster"]),
        ", ".join(words),
    ]
