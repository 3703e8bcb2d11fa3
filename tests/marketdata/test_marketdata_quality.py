"""Bars that must not be believed are found, each by its rule."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DataError, UnknownNameError
from marketdata.files.file_source import FileSource
from marketdata.quality.checks import Finding, check_bars, require_clean
from marketdata.sources.registry import find_source

GOOD = [
    "symbol,timestamp,close",
    "AAPL,2019-01-02,100",
    "KO,2019-01-02,50",
    "AAPL,2019-01-03,101",
    "KO,2019-01-03,51",
    "AAPL,2019-01-04,102",
    "KO,2019-01-04,49",
]


def written(folder: Path, lines: list[str]) -> FileSource:
    """A CSV file with these lines."""
    path = folder / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    return FileSource(path)


def findings(folder: Path, lines: list[str]) -> list[Finding]:
    """What is wrong with a file of these lines."""
    return check_bars(written(folder, lines).history(), "XNYS")


def test_good_files_and_the_embedded_sources_are_clean(tmp_path: Path, table: pa.Table) -> None:
    """A good file and the simulated bars have no findings; real bars only what truly was unusual."""
    assert findings(tmp_path, GOOD) == []
    assert check_bars(find_source("simulated").history(()), "XNYS") == []
    # Johnson & Johnson on the day of the asbestos report.
    found = [(one.rule, one.symbol, one.timestamp[:10], one.severity) for one in check_bars(table, "XNYS")]
    assert found == [("outlier", "JNJ", "2018-12-14", "warning")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # A profit warning, and the flash crash; dividends and splits are on record and no findings.
        ("us-tech-ohlcv", [("outlier", "AAPL", "2000-09-29"), ("outlier", "AAPL", "2010-05-06")]),
        # Christmas; the French election's first round, and a meeting of the Federal Reserve.
        (
            "eurusd-1h",
            [
                ("gap", "EURUSD", "2017-12-22"),
                ("gap", "EURUSD", "2017-12-25"),
                ("outlier", "EURUSD", "2017-04-23"),
                ("outlier", "EURUSD", "2017-09-20"),
            ],
        ),
    ],
)
def test_the_embedded_bars_have_warnings_where_they_are_true(
    source: str, expected: list[tuple[str, str, str]]
) -> None:
    """The real bars have no errors, and warnings on the days when something did happen."""
    chosen = find_source(source)
    found = check_bars(chosen.history(), chosen.calendar)
    assert [(one.rule, one.symbol, one.timestamp[:10]) for one in found] == expected
    assert {one.severity for one in found} == {"warning"}


def test_two_decades_of_twenty_stocks_have_no_errors() -> None:
    """Among 115,000 real bars no rule finds an error, and what it warns of is rare."""
    found = check_bars(find_source("sp500-20").history(), "XNYS")
    assert {one.severity for one in found} == {"warning"}
    assert {one.rule for one in found} == {"outlier", "split"}
    assert len(found) < 20


@pytest.mark.parametrize(
    ("rule", "lines", "symbol", "words"),
    [
        ("sorted", [*GOOD[:1], *GOOD[3:5], *GOOD[1:3], *GOOD[5:]], "AAPL", "sort by timestamp"),
        ("sorted", [GOOD[0], GOOD[2], GOOD[1], *GOOD[3:]], "AAPL", "then symbol"),
        ("unique", [*GOOD[:2], GOOD[1], *GOOD[2:]], "AAPL", "repeats"),
        ("price", [*GOOD[:3], "AAPL,2019-01-03,-101", *GOOD[4:]], "AAPL", "close is -101"),
        ("price", [*GOOD[:4], "KO,2019-01-03,0", *GOOD[5:]], "KO", "close is 0"),
        ("price", [*GOOD[:4], "KO,2019-01-03,inf", *GOOD[5:]], "KO", "close is inf"),
        ("nan", [*GOOD[:3], "AAPL,2019-01-03,", GOOD[4], "AAPL,2019-01-04,nan", GOOD[6]], "AAPL", "2 bars"),
        ("gap", [*GOOD[:4], *GOOD[5:]], "KO", "no bar"),
        ("calendar", [*GOOD, "AAPL,2019-01-05,103"], "AAPL", "no session"),
    ],
)
def test_each_rule_finds_its_fault(
    tmp_path: Path, rule: str, lines: list[str], symbol: str, words: str
) -> None:
    """A file with one fault has findings of exactly that rule, naming symbol and value."""
    found = findings(tmp_path, lines)
    assert {one.rule for one in found} == {rule}
    assert found[0].symbol == symbol
    assert words in found[0].value


def test_the_schema_is_checked_first(table: pa.Table) -> None:
    """A missing column, a wrong type, nulls in the key and an empty table are findings of the schema."""
    missing = check_bars(table.drop_columns(["adjustment"]), "XNYS")
    assert [one.rule for one in missing] == ["schema"]
    assert "adjustment" in missing[0].value
    wrong = table.set_column(5, "close", pc.cast(table["close"], pa.string()))
    assert "string" in check_bars(wrong, "XNYS")[0].value
    nameless = table.set_column(0, "symbol", pa.array([None] * len(table), pa.string()))
    assert "nulls" in check_bars(nameless, "XNYS")[0].value
    assert "no rows" in check_bars(BARS_SCHEMA.empty_table(), "XNYS")[0].value


def test_other_prices_and_volumes_are_checked_where_they_are_given(table: pa.Table) -> None:
    """A NaN open, a negative volume and a zero adjustment are found; nulls mean "not given" and are not."""
    first = table.slice(0, 6)
    opens = np.full(6, 10.0)
    opens[2] = np.nan
    first = first.set_column(2, "open", pa.array(opens))
    first = first.set_column(6, "volume", pa.array([1.0, -5.0, 1.0, 1.0, 1.0, 1.0]))
    first = first.set_column(7, "adjustment", pa.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0]))
    values = [one.value for one in check_bars(first, "XNYS")]
    assert values == [
        "adjustment is 0; it must be positive",
        "volume is -5; it cannot be negative",
        "open is NaN for 1 bars in a row",
    ]


def test_round_the_clock_markets_have_holes_instead_of_sessions() -> None:
    """On the calendar 24/7 a step longer than the usual one is a gap, and weekends are none."""
    hours = np.datetime64("2019-01-04T00", "ns") + np.arange(72) * np.timedelta64(1, "h")
    kept = np.delete(hours, [10, 11])
    bars = pa.table(
        {
            "symbol": ["EURUSD"] * len(kept),
            "timestamp": pa.array(kept).cast(pa.timestamp("ns", tz="UTC")),
            **{name: pa.nulls(len(kept), pa.float64()) for name in ("open", "high", "low", "volume")},
            "close": np.ones(len(kept)),
            "adjustment": np.ones(len(kept)),
        }
    ).select(BARS_SCHEMA.names)
    found = check_bars(bars.cast(BARS_SCHEMA), "24/7")
    gaps = [(one.rule, one.value) for one in found if one.rule != "stuck"]
    assert gaps == [("gap", "2 bars are missing after this one")]
    single = bars.slice(0, 1).cast(BARS_SCHEMA)
    assert check_bars(single, "24/7") == []


def test_the_error_is_one_line_that_names_thing_and_value(tmp_path: Path) -> None:
    """`require_clean` raises one line with file, rule, symbol, value and the number of findings."""
    lines = [*GOOD[:3], "AAPL,2019-01-03,-101", "KO,2019-01-03,-51", *GOOD[5:]]
    source = written(tmp_path, lines)
    with pytest.raises(DataError) as caught:
        require_clean(source.history(), "XNYS", source.name)
    text = str(caught.value)
    assert "\n" not in text
    assert all(part in text for part in ("bars.csv", "[price]", "AAPL", "-101", "1 more"))


def test_an_unknown_calendar_is_refused(table: pa.Table) -> None:
    """A calendar that does not exist is named together with those that do."""
    with pytest.raises(UnknownNameError, match=r"XMARS.*24/7"):
        check_bars(table, "XMARS")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["symbol,timestamp,price", "AAPL,2019-01-02,1"], "column 'close' is missing"),
        ([GOOD[0], GOOD[1], "KO,2019-01-02,fifty"], "column 'close', row 2 is 'fifty'"),
        ([GOOD[0], "AAPL,yesterday,1"], "column 'timestamp', row 1 is 'yesterday'"),
        ([GOOD[0], "AAPL,2019-01-02T21:00:00,1"], "column 'timestamp', row 1"),
        ([GOOD[0], GOOD[1], ",2019-01-02,1"], "column 'symbol', row 2"),
        ([GOOD[0], "AAPL,2019-01-02"], "cannot be read as csv"),
    ],
)
def test_unreadable_files_are_named_by_column_and_row(tmp_path: Path, lines: list[str], words: str) -> None:
    """What cannot be parsed is one line naming file, column and row."""
    with pytest.raises(DataError) as caught:
        written(tmp_path, lines).history()
    assert words in str(caught.value)
    assert "bars.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_other_formats_and_damage_are_named(tmp_path: Path) -> None:
    """A file that is not there, of another kind, or not Parquet in spite of its name, is a `DataError`."""
    (tmp_path / "bars.parquet").write_bytes(b"not parquet")
    for name, words in (
        ("none.csv", "no such file"),
        ("bars.xlsx", "ends in"),
        ("bars.parquet", "cannot be read as parquet"),
    ):
        with pytest.raises(DataError, match=words):
            FileSource(tmp_path / name).symbols()


def test_files_give_back_what_was_written(tmp_path: Path, table: pa.Table) -> None:
    """Bars written as CSV and as Parquet come back equal, and can be cut by symbol and time."""
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, tmp_path / "bars.parquet")
    texts = pc.strftime(table["timestamp"], format="%Y-%m-%dT%H:%M:%SZ")
    pyarrow.csv.write_csv(table.set_column(1, "timestamp", texts), tmp_path / "bars.csv")
    for name in ("bars.parquet", "bars.csv"):
        source = FileSource(tmp_path / name)
        assert source.history().equals(table)
        assert source.symbols() == ("AAPL", "BAC", "JNJ", "KO", "RRC", "XOM")
        first = table["timestamp"][0].as_py().to_pydatetime()
        cut = source.history(("KO",), first, first + timedelta(days=1))
        assert cut["symbol"].to_pylist() == ["KO", "KO"]


def test_dates_alone_stand_for_the_session_close(tmp_path: Path) -> None:
    """A bare date, as text or as a Parquet date, becomes that session's close: early on half days."""
    import pyarrow.parquet

    days = pa.array(["2019-07-03", "2019-07-05"])
    expected = ["2019-07-03T17:00:00+00:00", "2019-07-05T20:00:00+00:00"]
    for kind in (pa.string(), pa.date32()):
        bars = pa.table({"symbol": ["KO", "KO"], "timestamp": days.cast(kind), "close": [1, 2]})
        pyarrow.parquet.write_table(bars, tmp_path / "days.parquet")
        history = FileSource(tmp_path / "days.parquet").history()
        assert [moment.isoformat() for moment in history["timestamp"].to_pylist()] == expected
        assert history["close"].to_pylist() == [1.0, 2.0]


def test_text_in_a_number_column_of_parquet_is_refused(tmp_path: Path) -> None:
    """A Parquet column that cannot be a number is named."""
    import pyarrow.parquet

    day = pa.array(["2019-07-03"])
    bars = pa.table({"symbol": ["KO"], "timestamp": day, "close": pa.array([b"x"], pa.binary())})
    pyarrow.parquet.write_table(bars, tmp_path / "odd.parquet")
    with pytest.raises(DataError, match="column 'close' holds no numbers"):
        FileSource(tmp_path / "odd.parquet").history()
