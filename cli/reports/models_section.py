"""Section of the report on models: gate verdicts and walk-forward records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaloop.html_report.page import TableCell, TableColumn, badge, bullets, panel, render_table, section
from cli import formatting

Document = Mapping[str, Any]

_SUMMARY = ("Model", "IC", "t", "Sharpe, net", "Active IR, net", "ONNX differs", "Gate")
_FOLDS = ("Trained", "Tested", "IC", "Sharpe, net", "Active IR, net", "Turnover")


def models_section(report: Document, series: Document) -> str:
    """Render every model version with its figures, its verdict and the reasons."""
    models = list(report.get("models", []))
    records = dict(series.get("walk_forward", {}))
    passed = sum(bool(_gate(one).get("passed")) for one in models)
    return section(
        "Models and the gate",
        f"{formatting.count_noun(len(models), 'version').capitalize()} walked forward over past years "
        "on labels that start at the price one could have had; "
        f"{formatting.count_noun(passed, 'version')} passed the gate. "
        "IC is the rank correlation of score and later return; active IR is measured against equal weight.",
        panel(
            render_table(
                [TableColumn(name=name, number=0 < at < 6) for at, name in enumerate(_SUMMARY)],
                map(_row, models),
            )
        ),
        *(_verdict(one, _record(one, records)) for one in models),
    )


def _gate(model: Document) -> Document:
    gate = model.get("gate")
    return gate if isinstance(gate, Mapping) else {}


def _name(model: Document) -> str:
    return f"{model.get('family', '')} · {model.get('name', '')} {model.get('version', '')}".strip(" ·")


def _row(model: Document) -> list[str | TableCell]:
    active = model.get("active_ir_net")
    return [
        _name(model),
        formatting.format_decimal(model.get("ic"), 4),
        formatting.format_decimal(model.get("ic_tstat"), 1),
        formatting.format_decimal(model.get("sharpe_net")),
        TableCell(
            text=formatting.format_decimal(active), tone="bad" if formatting.is_below(active, 1e-12) else ""
        ),
        formatting.format_difference(model.get("fidelity_max_abs_diff")),
        TableCell(html=_badge(model)),
    ]


def _badge(model: Document) -> str:
    gate = _gate(model)
    if gate.get("passed"):
        return badge("passed", "good")
    reasons = set(gate.get("reasons", ()))
    only_findings = reasons and reasons <= set(gate.get("findings", ()))
    return badge("asks for a proof" if only_findings else "refused", "warn")


def _record(model: Document, records: dict[str, Sequence[Document]]) -> Sequence[Document]:
    """Pop the model's walk-forward rows, filed under one of several possible names."""
    name, version, family = (str(model.get(key, "")) for key in ("name", "version", "family"))
    for key in (f"{family} v{version}", f"{name} {version}", f"{name}/{version}", version, family, name):
        if key in records:
            # Popped, so that a model of the same family under another name does not use them too.
            return records.pop(key)
    return []


def _verdict(model: Document, record: Sequence[Document]) -> str:
    gate = _gate(model)
    reasons = [str(reason) for reason in gate.get("reasons", [])]
    if gate.get("proof"):
        reasons += [f"{found}; answered: {gate['proof']}" for found in gate.get("findings", [])]
    if not reasons and not record:
        return ""
    heads = [TableColumn(name=name, number=at > 1) for at, name in enumerate(_FOLDS)]
    return panel(
        bullets(reasons) if reasons else "",
        render_table(heads, map(_fold, record)) if record else "",
        heading=_name(model),
        badge_html=_badge(model),
    )


def _fold(row: Document) -> list[str | TableCell]:
    trained = row.get("train") or [row[end] for end in ("train_first", "train_last") if row.get(end)]
    if isinstance(trained, list | tuple):
        trained = " to ".join(formatting.format_day(end) for end in trained)
    return [
        str(trained or formatting.DASH),
        f"{formatting.format_day(row.get('test_first'))} to {formatting.format_day(row.get('test_last'))}",
        formatting.format_decimal(row.get("ic"), 4),
        formatting.format_decimal(row.get("sharpe_net")),
        formatting.format_decimal(row.get("active_ir_net")),
        formatting.format_percent(row.get("turnover")),
    ]
