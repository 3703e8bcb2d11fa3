"""Parts of `alphaloop data check`: quality rules, consequences of findings, and their display."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cli.commands.options import split_names

if TYPE_CHECKING:
    from marketdata.quality.checks import Thresholds
    from marketdata.quality.cleaning import Policies
    from marketdata.source import Source

# Above this number, findings are summarized.
MAX_FINDINGS_SHOWN = 100
# Lengths of the part of a date by which the summary groups: the day, else the month, else the year.
DATE_LENGTHS = (10, 7, 4)


def parse_policies(given: str) -> tuple[Policies, Thresholds]:
    """Return the settings' policies and thresholds, overridden by policies such as `unique=repair,…`.

    Raises `InputError` for a malformed or unknown policy.
    """
    from alphaloop.errors import InputError
    from alphaloop.settings import settings
    from marketdata.configured_quality import quality_policies
    from marketdata.quality.cleaning import Policies

    named: dict[str, str] = {}
    for pair in split_names(given):
        rule, sign, policy = pair.partition("=")
        if rule in named:
            raise InputError(f"--policy names rule '{rule}' twice; which policy is it to have?")
        if not sign:
            raise InputError(f"--policy '{pair}' is not of the form rule=policy, as unique=repair")
        named[rule] = policy
    policies, thresholds = quality_policies(settings.load_settings())
    return Policies({**policies.rules, **named}), thresholds  # type: ignore[dict-item]  # it checks them


def apply_rules(
    source: Source, table: Any, policies: Policies, thresholds: Thresholds, now: datetime | None
) -> tuple[dict[str, Any], str]:
    """Apply the policies to the bars, as when the bars of `source` are stored.

    Returns the findings and their consequences, and the reason of a refusal (else empty).
    """
    from alphaloop.errors import DataError
    from marketdata.quality import checks
    from marketdata.quality.cleaning import apply_policies, require_clean_rest
    from marketdata.source import record_digests, stated_frequency

    def found(bars: Any) -> list[checks.Finding]:
        return checks.check_bars(
            bars, source.calendar, thresholds, now=now, frequency=stated_frequency(source)
        )

    findings, refusal, cleaned = found(table), "", None
    try:
        cleaned = apply_policies(table, findings, policies, source.name)
        require_clean_rest(cleaned, table, found, policies, source.name)
    except DataError as error:
        refusal, cleaned = str(error), None
    payload = {
        "source": source.name,
        "rows": table.num_rows,
        "kept": cleaned.table.num_rows if cleaned else 0,
        "quarantined": cleaned.quarantined.num_rows if cleaned else 0,
        "repairs": cleaned.repairs if cleaned else (),
        "records": dict(record_digests(source)),
        "findings": [{**asdict(one), "policy": policies.of(one)} for one in findings],
    }
    return payload, refusal


def print_findings(findings: Sequence[dict[str, Any]]) -> None:
    """Print the findings, or a summary where there are more than a hundred."""
    from cli import output

    if not findings:
        return
    if len(findings) <= MAX_FINDINGS_SHOWN:
        heads = ("rule", "symbol", "timestamp", "value", "severity", "policy")
        output.print_table(heads, [[str(row[head]) for head in heads] for row in findings])
        return
    columns, rows = summarize_findings(findings)
    output.print_table(columns, rows, numbers=("findings", "symbols"))
    output.print_line(f"{len(findings):,} findings, summed up; see all of them with --json")


def summarize_findings(findings: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Group the findings by rule, severity, policy and period; returns heads and rows of a table.

    The period is a day, month or year, whichever gives at most a hundred rows. Each row has its first finding
    as an example.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for span in DATE_LENGTHS:
        groups = defaultdict(list)
        for one in findings:
            groups[one["rule"], one["timestamp"][:span], one["severity"], one["policy"]].append(one)
        if len(groups) <= MAX_FINDINGS_SHOWN:
            break
    heads: tuple[str, ...] = (
        "rule",
        "day" if span == DATE_LENGTHS[0] else "period",
        "findings",
        "symbols",
        "first",
        "severity",
        "policy",
    )
    rows = [
        [rule, day, f"{len(mine):,}", f"{len({one['symbol'] for one in mine}):,}", _example(mine[0]), *rest]
        for (rule, day, *rest), mine in groups.items()
    ]
    return heads, rows


def format_check_outcome(payload: dict[str, Any]) -> str:
    """Summarize the numbers of errors, warnings, repairs and rows in one sentence."""
    if not payload["findings"]:
        return "nothing wrong"
    severities = [finding["severity"] for finding in payload["findings"]]
    errors, warnings = severities.count("error"), severities.count("warning")
    if not errors and not payload["repairs"] and not payload["quarantined"]:
        return f"nothing wrong beyond {warnings} warnings"
    return (
        f"{errors} errors and {warnings} warnings, {len(payload['repairs'])} repairs, "
        f"{payload['quarantined']} rows set aside; {payload['kept']:,} rows to be used"
    )


def _example(finding: dict[str, Any]) -> str:
    place = " at ".join(part for part in (finding["symbol"], finding["timestamp"]) if part)
    return f"{place}: {finding['value']}" if place else str(finding["value"])
