"""Check new bars together with the bars before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import to_datetime64
from marketdata.quality.bar_rows import iso_moment
from marketdata.quality.finding import Finding

# Rules that compare a bar with earlier ones; the others need the new bars alone.
CONTEXTUAL_RULES = ("frequency", "grid", "calendar", "gap", "stuck", "outlier", "split", "stale")
# Number of earlier timestamps checked again: enough for the longest window and its median.
CONTEXT_BARS = 130

Check = Callable[[pa.Table], list[Finding]]


def check_new_bars(before: pa.Table, table: pa.Table, check: Check) -> list[Finding]:
    """Return the findings about `table` alone; its bars follow those of `before` or came late."""
    findings = check(table)
    if any(finding.rule == "schema" for finding in findings):
        return findings
    last = pc.max(before["timestamp"])
    recent = _recent(before, table["timestamp"].to_numpy().min())
    together = check(pa.concat_tables([recent, table], promote_options="default"))
    independent = [finding for finding in findings if finding.rule not in CONTEXTUAL_RULES]
    until = iso_moment(np.datetime64(last.value, "ns"))
    concerning = list(_concerning(together, recent, table, until))
    former = [item for item in together if item.rule == "grid" and item not in concerning]
    if any(item.severity == "error" for item in former):
        # Of two bars in one period, the stored one may be the one off the grid.
        known = {str(item) for item in check(recent)}
        concerning += [_moved(item, table) for item in former if str(item) not in known]
    return independent + concerning


def _recent(before: pa.Table, earliest: np.datetime64) -> pa.Table:
    """Return the bars needed to check the earliest new one: from `CONTEXT_BARS` timestamps before it."""
    times = np.unique(before["timestamp"].to_numpy())
    index = max(int(np.searchsorted(times, earliest)) - CONTEXT_BARS, 0)
    first = pa.scalar(times[index]).cast(before.schema.field("timestamp").type)
    return before.filter(pc.greater_equal(before["timestamp"], first))


def _concerning(findings: list[Finding], recent: pa.Table, table: pa.Table, last: str) -> Iterator[Finding]:
    """Yield the findings of contextual rules, as far as they concern the new bars."""
    late = {
        (symbol, iso_moment(time))
        for symbol, time in zip(table["symbol"].to_pylist(), table["timestamp"].to_numpy(), strict=True)
        if iso_moment(time) <= last
    }
    for finding in findings:
        if finding.rule not in CONTEXTUAL_RULES:
            continue
        came_late = (finding.symbol, finding.timestamp) in late
        ends_now = finding.bars == 0 and finding.timestamp == last
        if finding.timestamp > last or ends_now or came_late:
            yield finding
        elif finding.bars > 1 and (rest := finding.bars - _counted(recent, finding)) > 0:
            yield replace(_moved(finding, table), bars=rest)


def _moved(finding: Finding, table: pa.Table) -> Finding:
    """Return the finding dated at the symbol's first new bar."""
    symbol_rows = table.filter(pc.equal(table["symbol"], finding.symbol))
    begins = np.datetime64(pc.min(symbol_rows["timestamp"]).value, "ns")
    return replace(finding, timestamp=iso_moment(begins))


def _counted(recent: pa.Table, finding: Finding) -> int:
    start = to_datetime64(datetime.fromisoformat(finding.timestamp))
    symbol_times = recent.filter(pc.equal(recent["symbol"], finding.symbol))["timestamp"].to_numpy()
    return int((symbol_times >= start).sum())
