"""The quality report of a snapshot and its quarantined bars, stored beside it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DamagedStoreError, MissingStateError
from alphaloop.runtime.stored_values import parse_stored
from alphaloop.storage.object_store import MissingObjectError, ObjectStore
from alphaloop.storage.opening import open_store
from alphaloop.storage.parquet import open_table, table_bytes
from marketdata.quality.checks import DEFAULT_THRESHOLDS, Finding, Thresholds
from marketdata.quality.cleaning import NO_POLICIES, ROW_KEEPING_REPAIRS, Cleaned, Policies, Repair

REPORT_SUFFIX, QUARANTINE_SUFFIX = ".quality.json", ".quarantine.parquet"
_KEYS = pa.schema([BARS_SCHEMA.field("symbol"), BARS_SCHEMA.field("timestamp")])


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Findings in a snapshot's bars when they were stored, and the actions taken.

    `rows` counts the rows kept, `policies` are those that were set, `thresholds` the limits of the rules.
    """

    snapshot: str
    rows: int
    quarantined: int
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...]
    policies: dict[str, str]
    thresholds: dict[str, Any]

    def counts(self) -> dict[str, int]:
        """Count the findings of each rule."""
        return dict(Counter(finding.rule for finding in self.findings))


def write_quality_report(
    location: str | Path | ObjectStore,
    snapshot_id: str,
    cleaned: Cleaned,
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> QualityReport:
    """Write the report beside a snapshot (and quarantined rows, if any), each file in one step.

    `InputError` where it cannot be written.
    """
    report = QualityReport(
        snapshot=snapshot_id,
        rows=cleaned.table.num_rows,
        quarantined=cleaned.quarantined.num_rows,
        findings=cleaned.findings,
        repairs=cleaned.repairs,
        policies=dict(policies.rules),
        thresholds=_limits(thresholds),
    )
    store = open_store(location)
    if cleaned.quarantined.num_rows:
        store.replace(snapshot_id + QUARANTINE_SUFFIX, table_bytes(cleaned.quarantined))
    text = json.dumps({**asdict(report), "counts": report.counts()}, indent=1)
    store.replace(snapshot_id + REPORT_SUFFIX, text.encode())
    return report


def excluded_bars(location: str | Path | ObjectStore, snapshot_id: str) -> pa.Table:
    """Return symbol and timestamp of the bars quarantined or dropped when a snapshot was stored."""
    quarantine = read_quarantine(location, snapshot_id)
    keys = _KEYS.empty_table() if quarantine is None else quarantine.select(_KEYS.names).cast(_KEYS)
    try:
        report = read_quality_report(location, snapshot_id)
    except MissingStateError:
        return keys
    dropped = [repair for repair in report.repairs if repair.rule not in ROW_KEEPING_REPAIRS]
    times = [datetime.fromisoformat(repair.timestamp) for repair in dropped]
    rows = pa.table([[repair.symbol for repair in dropped], times], schema=_KEYS)
    return pa.concat_tables([keys, rows])


def _limits(thresholds: Thresholds) -> dict[str, Any]:
    """Return the thresholds in JSON form; holidays only where there are any."""
    limits: dict[str, Any] = asdict(thresholds)
    holidays = limits.pop("holidays")
    return limits | ({"holidays": list(holidays)} if holidays else {})


def read_quality_report(location: str | Path | ObjectStore, snapshot_id: str) -> QualityReport:
    """Read the report of a snapshot.

    `MissingStateError` if none was kept, `DamagedStoreError` if it is unreadable.
    """
    store = open_store(location)
    try:
        return parse_stored(QualityReport, store.read(snapshot_id + REPORT_SUFFIX))
    except MissingObjectError as error:
        raise MissingStateError(
            f"no quality report is kept with snapshot {snapshot_id[:12]} in {store.location}"
        ) from error
    except (OSError, ValueError) as error:
        path = store.address(snapshot_id + REPORT_SUFFIX)
        raise DamagedStoreError(
            f"quality report {path} cannot be read ({error}); check the bars anew"
        ) from error


def read_quarantine(location: str | Path | ObjectStore, snapshot_id: str) -> pa.Table | None:
    """Return the rows quarantined when this snapshot was stored, with their findings; None if none."""
    store = open_store(location)
    try:
        return open_table(store, snapshot_id + QUARANTINE_SUFFIX).read()
    except MissingObjectError:
        return None
    except (pa.ArrowException, OSError) as error:
        path = store.address(snapshot_id + QUARANTINE_SUFFIX)
        raise DamagedStoreError(f"quarantine {path} cannot be read ({error})") from error
