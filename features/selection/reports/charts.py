"""Charts of the report: methods side by side, similar candidates, and coefficients over time."""

from __future__ import annotations

import numpy as np

from alphaloop.bars import to_datetime
from alphaloop.html_report import page
from alphaloop.html_report.bar_charts import render_bars
from alphaloop.html_report.heatmap import Heatmap, heatmap
from alphaloop.html_report.line_chart import LineChart, LineSeries, line_chart
from features.selection.methods.method import METHODS
from features.selection.selection import SelectionResult

SEEN_BY_METHODS, CORRELATED, BARS_EACH = 24, 44, 10
_SIGNED = "{:+.3f}".format


def methods_chart(selected: SelectionResult) -> str:
    """Show how each method ranks the best candidates, and its top scores."""
    count = len(selected.candidates)
    worst = max(count - 1, 1)
    best = selected.order[:SEEN_BY_METHODS]
    ranks = {name: _by_feature(selected, f"{name}_rank") for name in selected.methods}
    names = [selected.candidates.names[place] for place in best]
    taken = set(selected.taken)
    chart = Heatmap(
        title="Ranks of the best candidates by method",
        rows=names,
        columns=[name.replace("_", " ") for name in selected.methods],
        values=[[1 - (ranks[one][name] - 1) / worst for one in selected.methods] for name in names],
        label=lambda share: f"{1 + (1 - share) * worst:.0f}",
        largest=1.0,
        marked=[index for index, place in enumerate(best) if place in taken],
        numbers=True,
    )
    return page.section(
        "How each method sees them",
        f"Ranks among {count} candidates, 1 and dark being best; chosen ones in strong type. Methods that "
        "disagree are a reason to doubt.",
        page.panel(heatmap(chart)),
        page.render_columns(*(page.panel(_importance(selected, name), heading=name.replace("_", " "),
                                  note=METHODS[name].says) for name in selected.methods)),
    )  # fmt: skip


def _importance(selected: SelectionResult, method: str) -> str:
    scores = _by_feature(selected, f"{method}_score")
    best = sorted(scores.items(), key=lambda one: -one[1])[:BARS_EACH]
    if not best or not best[0][1] > 0:
        return page.paragraph("This method leaves every candidate out.", "nothing")
    return render_bars([(_short(name), score) for name, score in best], label="{:.3g}".format)


def correlation_chart(selected: SelectionResult) -> str:
    """Show the correlation of the best candidates, ordered by cluster."""
    shown = set(selected.order[:CORRELATED])
    ordered = [int(place) for place in selected.clusters.order if int(place) in shown]
    of, taken = selected.clusters.of, set(selected.taken)
    matrix = selected.clusters.correlation[np.ix_(ordered, ordered)]
    chart = Heatmap(
        title="Correlation of the best candidates, ordered by cluster",
        rows=[selected.candidates.names[place] for place in ordered],
        values=matrix.tolist(),
        largest=1.0,
        label=_SIGNED,
        marked=[index for index, place in enumerate(ordered) if place in taken],
        breaks=[index for index in range(1, len(ordered)) if of[ordered[index]] != of[ordered[index - 1]]],
    )
    return page.section(
        "What says the same",
        f"Correlation of the best {len(ordered)} candidates, in the order of the cluster tree; lines part "
        "clusters, blue goes along and red against. One of a cluster is in the set (strong type).",
        page.panel(heatmap(chart)),
    )


def stability_chart(selected: SelectionResult) -> str:
    """Show information coefficients by period, and summed."""
    stable, names = selected.stability, selected.candidates.names
    flipping = [place for place in selected.order if stable.flips[place]][:5]
    places = selected.taken + flipping
    chart = Heatmap(
        title="Information coefficient by stretch of time",
        rows=[names[place] for place in places],
        columns=[to_datetime(start).strftime("%b %Y") for start in stable.starts],
        values=stable.blocks[:, places].T.tolist(),
        label="{:+.2f}".format,
        breaks=[len(selected.taken)] if flipping else [],
        numbers=True,
    )
    flips = int(stable.flips.sum())
    note = (
        f"Candidates that change their sign half-way, with certainty in both halves: {flips}. None of them "
        "is chosen; the best ones stand last."
        if flips
        else "No candidate changes its sign half-way with certainty in both halves."
    )
    return page.section(
        "Over time",
        f"Mean information coefficient in {len(stable.blocks)} equal stretches. Over all candidates, one "
        f"stretch orders them like another with a correlation of {stable.rank_agreement:+.2f} "
        "(1: always the same order; 0: no memory at all).",
        page.panel(heatmap(chart), note=note),
        page.panel(line_chart(_cumulative(selected)), heading="Summed information coefficients"),
    )


def _cumulative(selected: SelectionResult) -> LineChart:
    days = [str(to_datetime(moment).date()) for moment in selected.part.timestamps]
    step = max(1, len(days) // 300)
    series = [
        LineSeries(
            name=_short(selected.candidates.names[place]),
            x=days[::step],
            y=np.cumsum(np.nan_to_num(selected.part.coefficients[:, place]))[::step].tolist(),
            tone=tone,
        )
        for place, tone in zip(selected.taken, ("one", "three", "four", "five", "six"), strict=False)
    ]
    return LineChart(title="Summed information coefficient", series=series, label="{:.1f}".format, floor=0.0)


def _by_feature(selected: SelectionResult, column: str) -> dict[str, float]:
    table = selected.table
    return dict(zip(table["feature"].to_pylist(), table[column].to_pylist(), strict=True))


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"
