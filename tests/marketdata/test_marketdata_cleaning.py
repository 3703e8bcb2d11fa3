"""What follows from findings: refusal, quarantine, and repairs that are on record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from alphaloop.errors import DamagedStoreError, DataError, InputError, MissingStateError, UnknownNameError
from marketdata.quality import quality_report
from marketdata.quality.checks import RULES, Thresholds, check_bars
from marketdata.quality.cleaning import POLICIES, REPAIR_DESCRIPTIONS, Policies, apply_policies, clean_bars
from marketdata.storage.snapshots import SnapshotStore


@pytest.fixture
def bars(table: pa.Table) -> pa.Table:
    """The first forty sessions of the real bars: six symbols, nothing wrong."""
    return table.slice(0, 240)


def spoiled(bars: pa.Table, row: int, column: str, value: float) -> pa.Table:
    """The bars with one value changed."""
    values = bars[column].to_numpy(zero_copy_only=False).astype(float).copy()
    values[row] = value
    place = bars.schema.get_field_index(column)
    return bars.set_column(place, bars.schema.field(place), pa.array(values, from_pandas=True))


def applied(bars: pa.Table, **rules: str) -> object:
    """Findings and policies put to the bars."""
    return apply_policies(bars, check_bars(bars, "XNYS"), Policies(rules), "these")


def test_without_policies_errors_reject_and_warnings_are_reported(bars: pa.Table) -> None:
    """An error raises one line naming it; a warning leaves the very table, with its finding."""
    with pytest.raises(DataError, match=r"these: \[price\] .* close is -1") as caught:
        applied(spoiled(bars, 7, "close", -1))
    assert "\n" not in str(caught.value)
    silent = spoiled(bars, 7, "volume", 0)
    cleaned = applied(silent)
    assert cleaned.table is silent
    assert [one.rule for one in cleaned.findings] == ["volume"]
    assert cleaned.quarantined.num_rows == len(cleaned.repairs) == 0


def test_a_policy_may_reject_a_warning(bars: pa.Table) -> None:
    """What is a warning by default refuses the bars where the policy says so."""
    with pytest.raises(DataError, match="volume is 0"):
        applied(spoiled(bars, 7, "volume", 0), volume="reject")


def test_quarantine_sets_rows_aside_with_their_finding(bars: pa.Table) -> None:
    """The bar goes into the quarantine with rule, value and severity; the rest stays as it was."""
    cleaned = applied(spoiled(bars, 7, "close", -1), price="quarantine")
    row = cleaned.quarantined.to_pylist()[0]
    assert cleaned.quarantined.num_rows == 1
    assert (row["symbol"], row["close"], row["rule"], row["severity"]) == ("BAC", -1.0, "price", "error")
    assert "close is -1" in row["value"]
    assert cleaned.table.equals(pa.concat_tables([bars.slice(0, 7), bars.slice(8)]).combine_chunks())
    assert cleaned.repairs == ()


def test_a_run_is_set_aside_whole(bars: pa.Table) -> None:
    """A finding over several bars of one symbol takes all of them, and none of another's."""
    quiet = bars
    for row in (6, 12, 18):
        quiet = spoiled(quiet, row, "volume", 0)
    cleaned = applied(quiet, volume="quarantine")
    assert cleaned.quarantined["symbol"].to_pylist() == ["AAPL"] * 3
    assert cleaned.table.num_rows == bars.num_rows - 3


def test_copies_are_dropped_and_contradictions_are_not(bars: pa.Table) -> None:
    """Exact copies go, each on record; two different bars of one moment are refused after the repair."""
    doubled = pa.concat_tables([bars, bars.slice(10, 2)]).sort_by(
        [("timestamp", "ascending"), ("symbol", "ascending")]
    )
    cleaned = clean_bars(doubled, "XNYS", "these", Policies({"unique": "repair"}))
    assert cleaned.table.combine_chunks().equals(bars.combine_chunks())
    assert [(one.rule, one.symbol, one.done) for one in cleaned.repairs] == [
        ("unique", "RRC", REPAIR_DESCRIPTIONS["unique"]),
        ("unique", "XOM", REPAIR_DESCRIPTIONS["unique"]),
    ]
    other = spoiled(doubled, 10, "close", 1.0)
    with pytest.raises(DataError, match=r"after repairs: \[unique\] RRC"):
        clean_bars(other, "XNYS", "these", Policies({"unique": "repair", "outlier": "report"}))


def test_rows_are_put_into_order_on_record(bars: pa.Table) -> None:
    """Shuffled rows come back sorted, and every row that was out of place is a repair."""
    shuffled = bars.take(np.random.default_rng(1).permutation(len(bars)))
    cleaned = clean_bars(shuffled, "XNYS", "these", Policies({"sorted": "repair"}))
    assert cleaned.table.combine_chunks().equals(bars.combine_chunks())
    assert {one.rule for one in cleaned.repairs} == {"sorted"}
    assert len(cleaned.repairs) == len(cleaned.findings) > 10


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("close", -1.0, "price"), ("close", np.nan, "nan"), ("high", 0.01, "ohlc"), ("volume", -5.0, "price")],
)
def test_impossible_bars_are_dropped_and_leave_a_known_gap(
    bars: pa.Table, column: str, value: float, rule: str
) -> None:
    """A repair takes the bar away and makes nothing up in its place; the gap that is left refuses nothing."""
    cleaned = clean_bars(spoiled(bars, 7, column, value), "XNYS", "these", Policies({rule: "repair"}))
    assert cleaned.table.num_rows == bars.num_rows - 1
    assert cleaned.table.equals(pa.concat_tables([bars.slice(0, 7), bars.slice(8)]).combine_chunks())
    assert [(one.rule, one.symbol) for one in cleaned.repairs] == [(rule, "BAC")]
    assert cleaned.repairs[0].timestamp == "2018-01-03T21:00:00+00:00"


def test_a_repair_uses_nothing_of_the_future(bars: pa.Table) -> None:
    """With every later bar changed, the repaired bars up to then are the same."""
    policies = Policies({"price": "repair", "outlier": "report", "split": "report"})
    wrong = spoiled(bars, 7, "close", -1)
    later = wrong.slice(120)
    raised = later.set_column(5, wrong.schema.field(5), pc.multiply(later["close"], 1.7))
    one = clean_bars(wrong, "XNYS", "these", policies).table.slice(0, 119)
    other = clean_bars(
        pa.concat_tables([wrong.slice(0, 120), raised]), "XNYS", "these", policies
    ).table.slice(0, 119)
    assert one.equals(other.combine_chunks())


def test_policies_that_make_no_sense_are_refused() -> None:
    """Unknown rules and policies, a repair that would invent prices and a quarantine of nothing are named."""
    for rules, kind, words in (
        ({"prise": "repair"}, UnknownNameError, "unknown quality rule 'prise'"),
        ({"price": "mend"}, UnknownNameError, "unknown quality policy 'mend'"),
        ({"outlier": "repair"}, InputError, "rule 'outlier' cannot have the policy 'repair'"),
        ({"gap": "quarantine"}, InputError, "rule 'gap' cannot have the policy 'quarantine'"),
    ):
        with pytest.raises(kind, match=words):
            Policies(rules)
    for rule in RULES:
        assert Policies({rule: "report"}).rules == {rule: "report"}
    assert set(REPAIR_DESCRIPTIONS) <= set(RULES)
    assert POLICIES == ("reject", "quarantine", "repair", "report")


def test_the_report_is_kept_beside_the_snapshot(bars: pa.Table, tmp_path: Path) -> None:
    """Report and quarantined rows are read back as they were, and are readable JSON and Parquet."""
    policies = Policies({"price": "quarantine", "nan": "repair"})
    wrong = spoiled(spoiled(bars, 7, "close", -1), 15, "close", np.nan)
    cleaned = clean_bars(wrong, "XNYS", "these", policies)
    store = SnapshotStore(tmp_path)
    snapshot = store.save(cleaned.table, "sp500-20")
    written = quality_report.write_quality_report(tmp_path, snapshot.id, cleaned, policies)
    assert quality_report.read_quality_report(tmp_path, snapshot.id) == written
    assert (written.rows, written.quarantined, len(written.repairs)) == (238, 1, 1)
    closed = quality_report.write_quality_report(
        tmp_path, "other", cleaned, policies, Thresholds(holidays=("2018-04-11",))
    )
    assert quality_report.read_quality_report(tmp_path, "other") == closed
    assert quality_report.read_quarantine(tmp_path, snapshot.id).equals(cleaned.quarantined)
    held = json.loads((tmp_path / f"{snapshot.id}.quality.json").read_text())
    assert held["counts"] == {"price": 1, "nan": 1}
    assert held["policies"] == dict(policies.rules)
    assert store.load(snapshot.id).equals(cleaned.table.combine_chunks())
    other = store.save(bars, "sp500-20")
    assert quality_report.read_quarantine(tmp_path, other.id) is None
    with pytest.raises(MissingStateError, match=other.id[:12]):
        quality_report.read_quality_report(tmp_path, other.id)
    (tmp_path / f"{snapshot.id}.quality.json").write_text("{}")
    with pytest.raises(DamagedStoreError, match="check the bars anew"):
        quality_report.read_quality_report(tmp_path, snapshot.id)


def test_new_bars_are_judged_by_those_before_them(table: pa.Table) -> None:
    """A new session is held against the last ones: a jump and a skipped session are found in it alone."""
    known, fresh = table.slice(0, 414), table.slice(414, 6)
    assert clean_bars(fresh, "XNYS", "these", before=known).findings == ()
    jumped = spoiled(fresh, 2, "close", 10.0)
    assert clean_bars(jumped, "XNYS", "these").findings == ()
    found = clean_bars(jumped, "XNYS", "these", Policies({"outlier": "report"}), before=known).findings
    moment = fresh["timestamp"][0].as_py().isoformat()
    assert [(one.rule, one.symbol, one.timestamp) for one in found] == [("outlier", "JNJ", moment)]
    with pytest.raises(DataError, match=r"\[gap\] 2018-04-11: no bar of any of the 6 symbols"):
        clean_bars(fresh, "XNYS", "these", before=known.slice(0, 408))


def test_a_price_that_has_long_been_stuck_is_found_in_the_new_bar(bars: pa.Table) -> None:
    """A run that began before goes on in the new bar: the finding counts the new bar alone."""
    quiet = bars
    for row in range(150, 240, 6):
        quiet = spoiled(quiet, row, "close", 43.0)
    found = clean_bars(
        quiet.slice(234), "XNYS", "these", Policies({"stuck": "quarantine"}), before=quiet.slice(0, 234)
    )
    assert found.quarantined["symbol"].to_pylist() == ["AAPL"]
    assert [(one.rule, one.bars) for one in found.findings] == [("stuck", 1)]
    assert "15 bars in a row" in found.findings[0].value
